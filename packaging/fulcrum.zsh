#compdef fulcrum
# Completion of fulcrum for zsh: the program says itself what may come next.
#   source <(fulcrum completion zsh)
# or as a file _fulcrum in a folder of fpath.
_fulcrum() {
	local -a before=(${words[1,CURRENT-1]}) found
	# What is being typed is completed here, but for flags, which are asked for by
	# their beginning; -- would end them.
	case $words[CURRENT] in
	--) before+=(-) ;;
	-*) before+=($words[CURRENT]) ;;
	esac
	# With this in its environment the program says what a command is for, too.
	found=(${(f)"$(env 0=zsh ${(Q)before} --generate-bash-completion 2>/dev/null)"})
	if (($#found)); then
		_describe fulcrum found
	else
		_files
	fi
}
if [[ $funcstack[1] == _fulcrum ]]; then
	_fulcrum "$@"
else
	compdef _fulcrum fulcrum
fi
