#!/bin/sh
# list-fonts.sh [small]: makes fonts.tsv (or fonts-small.tsv, which the tests use) on standard output from the Debian packages that are installed here:
# package, file, SHA-256, design group, flags. What is drawn depends on these files alone, so the list is made anew only when Debian's release changes.
set -eu
which=${1:-all}
printf '# Made by list-fonts.sh. package, path, sha256, group, flags (mono, bold, italic, serif, held).\n'
printf '# A group is one design with all that is derived from it or made to its measures. Groups with "held" are never drawn for training.\n'
printf '# vera: Bitstream Vera, DejaVu, Hack. liberation: Liberation, Arimo, Tinos, Cousine. urw: the PostScript designs (URW, TeX Gyre, FreeFont, Courier).\n'
printf '# noto: Noto, Droid, Open Sans. lato: Lato, Carlito.\n'
while read -r package group flags file; do
	case $package in '' | '#'*) continue ;; esac
	case $which,$package in
	small,fonts-dejavu-core | small,fonts-liberation2) ;;
	small,*) continue ;;
	esac
	# The small list holds out one of its two groups.
	[ "$which,$group" = small,liberation ] && flags=$flags,held
	path=$(dpkg-query -L "$package" | grep "/$file\$" | head -n 1)
	[ -f "$path" ] || { echo "$package has no $file" >&2; exit 1; }
	printf '%s\t%s\t%s\t%s\t%s\n' "$package" "$path" "$(sha256sum "$path" | cut -d ' ' -f 1)" "$group" "$(echo "$flags" | sed 's/^-,//')"
done <<'END'
fonts-dejavu-core vera - DejaVuSans.ttf
fonts-dejavu-core vera bold DejaVuSans-Bold.ttf
fonts-dejavu-core vera serif DejaVuSerif.ttf
fonts-dejavu-core vera serif,bold DejaVuSerif-Bold.ttf
fonts-dejavu-core vera mono DejaVuSansMono.ttf
fonts-dejavu-core vera mono,bold DejaVuSansMono-Bold.ttf
fonts-hack vera mono Hack-Regular.ttf
fonts-hack vera mono,bold Hack-Bold.ttf
fonts-liberation2 liberation - LiberationSans-Regular.ttf
fonts-liberation2 liberation bold LiberationSans-Bold.ttf
fonts-liberation2 liberation italic LiberationSans-Italic.ttf
fonts-liberation2 liberation serif LiberationSerif-Regular.ttf
fonts-liberation2 liberation serif,bold LiberationSerif-Bold.ttf
fonts-liberation2 liberation serif,italic LiberationSerif-Italic.ttf
fonts-liberation2 liberation mono LiberationMono-Regular.ttf
fonts-liberation2 liberation mono,bold LiberationMono-Bold.ttf
fonts-liberation liberation - LiberationSansNarrow-Regular.ttf
fonts-freefont-ttf urw - FreeSans.ttf
fonts-freefont-ttf urw serif FreeSerif.ttf
fonts-freefont-ttf urw mono FreeMono.ttf
fonts-freefont-ttf urw mono,bold FreeMonoBold.ttf
fonts-texgyre urw - texgyreadventor-regular.otf
fonts-texgyre urw serif texgyrebonum-regular.otf
fonts-texgyre urw serif,italic texgyrepagella-italic.otf
fonts-urw-base35 urw - NimbusSans-Regular.otf
fonts-urw-base35 urw bold NimbusSans-Bold.otf
fonts-urw-base35 urw bold NimbusSansNarrow-Bold.otf
fonts-urw-base35 urw serif NimbusRoman-Regular.otf
fonts-urw-base35 urw mono,bold NimbusMonoPS-Bold.otf
fonts-urw-base35 urw serif C059-Roman.otf
fonts-urw-base35 urw serif P052-Roman.otf
fonts-courier-prime urw mono,serif Courier Prime.otf
fonts-noto-core noto - NotoSans-Regular.ttf
fonts-noto-core noto bold NotoSans-Bold.ttf
fonts-noto-core noto serif NotoSerif-Regular.ttf
fonts-noto-core noto serif,bold NotoSerif-Bold.ttf
fonts-noto-mono noto mono NotoSansMono-Regular.ttf
fonts-open-sans noto - OpenSans-Regular.ttf
fonts-open-sans noto bold OpenSans-Bold.ttf
fonts-roboto-unhinted roboto - Roboto-Regular.ttf
fonts-roboto-unhinted roboto bold Roboto-Bold.ttf
fonts-roboto-unhinted roboto - Roboto-Light.ttf
fonts-roboto-unhinted roboto - RobotoCondensed-Regular.ttf
fonts-lato lato - Lato-Regular.ttf
fonts-lato lato bold Lato-Bold.ttf
fonts-lato lato bold Lato-Heavy.ttf
fonts-crosextra-carlito lato - Carlito-Regular.ttf
fonts-firacode fira mono FiraCode-Regular.ttf
fonts-firacode fira mono,bold FiraCode-Bold.ttf
fonts-inconsolata inconsolata mono Inconsolata.otf
fonts-linuxlibertine libertine serif LinLibertine_R.otf
fonts-linuxlibertine libertine serif,bold LinLibertine_RB.otf
fonts-linuxlibertine libertine - LinBiolinum_R.otf
fonts-junicode junicode serif JunicodeTwoBeta-Regular.otf
fonts-jetbrains-mono jetbrains mono JetBrainsMono-Regular.ttf
fonts-jetbrains-mono jetbrains mono,bold JetBrainsMono-Bold.ttf
fonts-anonymous-pro anonymous mono Anonymous Pro.ttf
fonts-anonymous-pro anonymous mono,bold Anonymous Pro B.ttf
fonts-opendyslexic opendyslexic - OpenDyslexic-Regular.otf
fonts-ebgaramond garamond serif EBGaramond12-Regular.otf
fonts-quicksand quicksand - Quicksand-Medium.ttf
fonts-quicksand quicksand bold Quicksand-Bold.ttf
fonts-fantasque-sans fantasque mono FantasqueSansMono-Regular.ttf
fonts-fantasque-sans fantasque mono,bold FantasqueSansMono-Bold.ttf
fonts-cmu computermodern serif cmunrm.ttf
fonts-cmu computermodern serif,bold cmunbx.ttf
fonts-cmu computermodern - cmunss.ttf
fonts-cmu computermodern mono cmuntt.ttf
fonts-terminus-otb terminus mono terminus-normal.otb
fonts-terminus-otb terminus mono,bold terminus-bold.otb
fonts-agave agave mono agave-r-autohinted.ttf
fonts-monoid monoid mono Monoid-Regular.ttf
fonts-3270 3270 mono 3270-Regular.ttf
fonts-league-spartan spartan bold LeagueSpartan-Bold.otf
fonts-go go held Go-Regular.ttf
fonts-go go bold,held Go-Bold.ttf
fonts-go go mono,held Go-Mono.ttf
fonts-cantarell cantarell held Cantarell-Regular.otf
fonts-cantarell cantarell bold,held Cantarell-Bold.otf
fonts-play play held Play-Regular.ttf
fonts-play play bold,held Play-Bold.ttf
fonts-karla karla held Karla-Regular.otf
fonts-karla karla bold,held Karla-Bold.otf
fonts-crosextra-caladea cambo serif,held Caladea-Regular.ttf
fonts-crosextra-caladea cambo serif,bold,held Caladea-Bold.ttf
fonts-mononoki mononoki mono,held mononoki-Regular.ttf
fonts-mononoki mononoki mono,bold,held mononoki-Bold.ttf
fonts-vollkorn vollkorn serif,held Vollkorn-Regular.ttf
fonts-vollkorn vollkorn serif,bold,held Vollkorn-Bold.ttf
fonts-comfortaa comfortaa held Comfortaa-Regular.ttf
fonts-comfortaa comfortaa bold,held Comfortaa-Bold.ttf
END
