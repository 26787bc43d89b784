#!/bin/bash
# make.sh BIN [FOLDER]: writes moe.bash, _moe (zsh) and moe.fish into FOLDER (default: this one) from the option tables of the programs in BIN.
set -euo pipefail
bin=${1:?the folder of the programs}
to=${2:-$(dirname "$0")}
programs=$(cd "$bin" && ls -d moe-*)

# What completes an option's value, by the name that the value has in --help.
kind() {
	case $1 in
	'') echo none ;;
	MODEL) echo folder ;;
	FILE | LIST | LAST | SOURCE | FIFO | TRACE | '?WHERE') [[ $2 == @(drop|force|mute) ]] && echo word || echo file ;;
	LEVEL) echo 'c avx2 avx-vnni avx512 vnni amx' ;;
	MODALITY) echo 'text image audio video other all' ;;
	FORMAT) echo 'text png svg html json tsv' ;;
	WHEN) echo 'auto true 256 never' ;;
	LAW) echo 'dense sparse' ;;
	COST) echo 'flops tokens seconds' ;;
	ROWS) echo 'none last all' ;;
	*) echo word ;;
	esac
}

# each PROGRAM FUNCTION: calls FUNCTION LETTER NAME ARG KIND HELP for every option; LETTER is empty where there is none.
each() {
	local letter name arg help
	while IFS=$'\t' read -r letter name arg help; do
		[ "$letter" != - ] || letter=
		[ "$arg" != - ] || arg=
		"$2" "$letter" "$name" "$arg" "$(kind "$arg" "$name")" "$help"
	done < <("$bin/$1" --list-options | sed 's/\t\t/\t-\t/')
}

bash_option() {
	local both="${1:+-$1 }--$2"
	all+=" $both"
	case $4 in
	none) ;;
	folder) folders+=" $both" ;;
	file) files+=" $both" ;;
	word) values+=" $both" ;;
	*) words+="		${1:+-$1 | }--$2) COMPREPLY=(\$(compgen -W '$4' -- \"\$cur\")) && return ;;"$'\n' ;;
	esac
}

make_bash() {
	local p all folders files values words
	echo '# bash completion of the moe-* programs, made by completions/make.sh from their option tables'
	echo '_moe() {'
	echo '	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} all= folders= files= values='
	echo '	case ${1##*/} in'
	for p in $programs; do
		all='' folders='' files='' values='' words=''
		each "$p" bash_option
		printf '	%s)\n		all="%s"\n		folders="%s"\n		files="%s"\n		values="%s"\n' "$p" "${all# }" "${folders# }" "${files# }" "${values# }"
		[ -z "$words" ] || printf '		case $prev in\n%s		esac\n' "$words"
		echo '		;;'
	done
	cat <<'END'
	esac
	case " $folders " in *" $prev "*) compopt -o filenames; COMPREPLY=($(compgen -d -- "$cur")); return ;; esac
	case " $values " in *" $prev "*) return ;; esac
	case " $files " in *" $prev "*) compopt -o filenames; COMPREPLY=($(compgen -f -- "$cur")); return ;; esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "$all" -- "$cur"))
	else
		compopt -o filenames
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
END
	echo "complete -F _moe" $programs
}

zsh_option() {
	local help=${5//\'/\'\\\'\'} letter=$1 name=$2 value=
	help=${help//[/\\[} help=${help//]/\\]} help=${help//:/\\:}
	case $4 in
	none) ;;
	folder) value=":$3:_files -/" ;;
	file) value=":${3#\?}:_files" ;;
	word) value=":${3//:/\\:}: " ;;
	*) value=":$3:($4)" ;;
	esac
	case $3 in
	'') ;;
	'?'*) name+==- value=":$value" ;;
	*) name+== letter+=+ ;;
	esac
	if [ -n "$1" ]; then
		printf "		'(-%s --%s)'{-%s,--%s}'[%s]%s' \\\\\n" "$1" "$2" "$letter" "$name" "$help" "$value"
	else
		printf "		'--%s[%s]%s' \\\\\n" "$name" "$help" "$value"
	fi
}

make_zsh() {
	local p
	echo "#compdef" $programs
	echo '# zsh completion of the moe-* programs, made by completions/make.sh from their option tables'
	echo 'case $service in'
	for p in $programs; do
		printf '%s)\n	_arguments -s \\\n' "$p"
		each "$p" zsh_option
		printf "		'*:file:_files'\n	;;\n"
	done
	echo 'esac'
}

fish_option() {
	local help=${5//\'/\\\'} value=
	case $4 in
	none) ;;
	folder) value=" -x -a '(__fish_complete_directories)'" ;;
	file) value=' -r' ;;
	word) value=' -x' ;;
	*) value=" -x -a '$4'" ;;
	esac
	case $3 in '?'*) value= ;; esac
	echo "complete -c $program${1:+ -s $1} -l $2$value -d '$help'"
}

make_fish() {
	local program
	echo '# fish completion of the moe-* programs, made by completions/make.sh from their option tables'
	for program in $programs; do
		each "$program" fish_option
	done
}

make_bash >"$to/moe.bash"
make_zsh >"$to/_moe"
make_fish >"$to/moe.fish"
