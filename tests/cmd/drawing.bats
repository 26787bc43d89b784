# drawing.bats: the model that ships draws what a caption says (share/models/draw).
load helper

draw=$root/share/models/draw

# What the model that looks says of drawings of 150 scenes of the test split: "NAME place P colour C shape S both B", in percent.
@test "place, colour and shape are those of the caption, as another model sees them" {
	moe-synth -q --fonts small --tasks scene --things 1 --split test --seed 9 -n 280 -o test.tar
	python3 "$root/tests/bench/drawn.py" "$BIN" "$draw" "$root/share/models/look" test.tar 150 --against '<draw><picture>' --guidance 2 --temperature 0.7 --seed 1 |
		sed 's/ %//g; s/drawn for others/others/; s/real, as image tokens/tokens/' >seen
	grep -q '^150 scenes' seen
	awk '$1 == "drawn" { drawn = $3 >= 80 && $5 >= 60 && $7 >= 60 }
		$1 == "others" { others = $3 < 25 && $5 < 25 && $7 < 30 }
		$1 == "tokens" { tokens = $3 >= 95 && $5 >= 70 && $7 >= 60 }
		END { exit !(drawn && others && tokens) }' seen
}

@test "the picture in the README is what it draws, by any instructions" {
	"$root/share/models/sheet.sh" "$BIN" "$draw" <"$root/share/models/draw/captions.txt" >drawn.svg
	cmp drawn.svg "$root/share/pictures/drawn.svg"
	head -n 2 "$root/share/models/draw/captions.txt" | sed 's/.*/<draw> &<picture>/' >prompts
	for cpu in c avx2; do
		moe-run -q --cpu $cpu -m "$draw" --prompts prompts --against '<draw><picture>' --guidance 2 --temperature 0.7 --seed 1 --image $cpu-%03d.png >/dev/null
		base64 -w0 $cpu-001.png >code
		grep -q -F -f code drawn.svg
	done
}
