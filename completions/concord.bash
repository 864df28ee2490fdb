_concord_completion() {
    local IFS=$'\n'
    local response

    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_LAST="${COMP_WORDS[COMP_CWORD]}" COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _CONCORD_COMPLETE=bash_complete $1)

    for completion in $response; do
        IFS=',' read type value <<< "$completion"

        if [[ $type == 'dir' ]]; then
            COMPREPLY=()
            compopt -o dirnames
        elif [[ $type == 'file' ]]; then
            COMPREPLY=()
            compopt -o default
        elif [[ $type == 'plain' ]]; then
            COMPREPLY+=($value)
        fi
    done

    # The value of a field is still to come.
    [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *: ]] && compopt -o nospace 2>/dev/null

    return 0
}

_concord_completion_setup() {
    complete -o nosort -F _concord_completion concord
}

_concord_completion_setup;
