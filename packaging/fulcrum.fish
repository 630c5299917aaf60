# Completion of fulcrum for fish: the program says itself what may come next.
#   fulcrum completion fish | source
function __fulcrum_complete
    set -l words (commandline -opc)
    # What is being typed is completed by fish, but for flags, which are asked for by
    # their beginning; -- would end them.
    set -l current (commandline -ct)
    switch $current
        case --
            set -a words -
        case '-*'
            set -a words $current
    end
    set -l program (string replace -r '^~' $HOME -- $words[1])
    $program $words[2..-1] --generate-bash-completion 2>/dev/null
end
complete -c fulcrum -f -a '(__fulcrum_complete)'
complete -c fulcrum -s c -l config -r -F -n '__fish_seen_subcommand_from run check doctor'
