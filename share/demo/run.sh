#!/bin/bash
# run.sh BIN: reads the pictures of this folder through the stages, written out in full, asks questions about those in ../ask/, and shows where tokens went.
set -euo pipefail
bin=$(cd "${1:?the folder of the programs}" && pwd)
demo=$(cd "$(dirname "$0")" && pwd)
export PATH=$bin:$PATH
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$demo" pictures
mkfifo loop

pipeline='moe-tokenize --for-each pictures --generate --loop loop |
  moe-patchify pictures |
  moe-encode |
  moe-embed |
  moe-block -l 0-1 |
  moe-attend -l 2 |
  moe-route -l 2 --stats=text:routing.txt |
  moe-expert -l 2 |
  moe-block -l 3- |
  moe-decode --loop loop'
echo 'The whole forward pass as a pipeline; generated tokens go back through the FIFO "loop":'
echo
echo "  mkfifo loop"
sed 's/^/  /' <<<"$pipeline"
echo
eval "$pipeline"
echo
echo "Where layer 2 sent the tokens of these pictures and words (moe-route --stats):"
echo
cat routing.txt
ask() {
	printf '  %-12s %-38s %s\n' "$1" "$2" "$(moe-run --chat -p "$2" "$demo/../ask/$1")"
}
echo
echo 'Questions (moe-run --chat -p QUESTION PICTURE):'
echo
ask scene.png 'what digit is at the right?'
ask scene.png 'what is at the left?'
ask scene.png 'how many green objects?'
ask heart.png 'what is at the top?'
ask clock.png 'what time is it?'
ask display.png 'what temperature is shown?'
ask lights.png 'how many lights are on?'
ask lights.png 'what colour is the second light?'
echo
echo "And a caption of heart.png (-p '<image><describe>'), with the routing of layer 3 by modality:"
echo
moe-run -p '<image><describe>' --stats=text:routing.txt "$demo/../ask/heart.png" | fold -sw 96 | sed 's/^/  /'
echo
awk '/^layer 3/ { on = 1 } /^layer 4/ { on = 0 } on' routing.txt
cat <<END

In one process, with the programs in build/release/bin:

  moe-run share/demo/price.png                  one picture
  moe-run --chat -i share/ask/scene.png         questions at the terminal
  moe-run --json share/demo/*.png               answers with token ids and log-probabilities
  moe-run --stats=text share/demo               routing of every layer
  moe-run --drop 3 share/demo                   what if expert 3 were gone?
  moe-info                                      the model: shapes, parameters, cost per token
  moe-tokenize | moe-patchify share/demo/price.png | moe-view     look at any stream
  man ./man/moe-pipelines.7                     more recipes
END
