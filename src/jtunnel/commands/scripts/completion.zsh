#compdef jtunnel
# zsh completion for jtunnel: a file _jtunnel in a directory of $fpath, or, behind compinit in ~/.zshrc:
# eval "$(jtunnel completion zsh)". Made from the table of commands.

# KIND DESCRIPTION [NAME]: offers the words that jtunnel knows, but those that stand there already.
_jtunnel_ask() {
    local line word
    local -a found given
    given=("${(@)words[2,CURRENT-1]}" "${(@)words[CURRENT+1,-1]}")
    for line in ${(f)"$(command jtunnel __complete $1 ${3-} 2>/dev/null)"}; do
        word=${line%%$'\t'*}
        (( ${given[(Ie)$word]} )) || found+=("${word}:${line#*$'\t'}")
    done
    _describe -t $1 $2 found
}

_jtunnel_commands() {
    local -a commands
    commands=(
@COMMANDS@
    )
    _describe -t commands command commands
}

_jtunnel() {
    local curcontext=$curcontext context state state_descr ret=1
    local -a line
    local -A opt_args
    _arguments -C \
        '(- 1 *)'{-h,--help}'[show what there is]' \
        '(- 1 *)'{-V,--version}'[show the version]' \
        '1: :_jtunnel_commands' \
        '*:: :->arguments' && ret=0
    [[ $state == arguments ]] || return ret
    curcontext=${curcontext%:*:*}:jtunnel-$words[1]:
    case $words[1] in
@TABLE@
    esac
    return ret
}

# A file that is autoloaded is the function itself when it runs first.
if [[ ${ZSH_EVAL_CONTEXT-} == *loadautofunc ]]; then
    _jtunnel "$@"
elif (( ${+functions[compdef]} )); then
    compdef _jtunnel jtunnel
else
    print -u2 'jtunnel: for completion put this into ~/.zshrc before it: autoload -Uz compinit && compinit'
fi
