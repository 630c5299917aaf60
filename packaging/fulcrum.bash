# Completion of fulcrum for bash: the program says itself what may come next.
#   source <(fulcrum completion bash)
_fulcrum() {
	local words cur=${COMP_WORDS[COMP_CWORD]}
	read -ra words <<<"${COMP_LINE:0:COMP_POINT}"
	# What is being typed is completed here, but for flags, which are asked for by
	# their beginning; -- would end them.
	case $cur in
	'') ;;
	--) words[${#words[@]} - 1]=- ;;
	-*) ;;
	*) unset 'words[${#words[@]}-1]' ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]/#\~/$HOME}" --generate-bash-completion 2>/dev/null)" -- "$cur")
}
complete -o bashdefault -o default -F _fulcrum fulcrum
