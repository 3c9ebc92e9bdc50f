# bash completion for jtunnel, for bash 3.2 and newer. In ~/.bashrc: eval "$(jtunnel completion bash)"
# Made from the table of commands; needs nothing else, and works under `set -u` and in POSIX mode.

# COMMAND: sets what may stand behind it. A list is divided by commas; @names, @tags and @forwards are asked
# for; + marks what may come again, and - a word that only the person knows.
_jtunnel_table() {
    case $1 in
@TABLE@
    esac
}

# LIST [NAME]: its words, one a line.
_jtunnel_words() {
    local IFS=$' \t\n' line
    case $1 in
        @*)
            while IFS=$'\t' read -r line _; do
                printf '%s\n' "$line"
            done <<< "$(command jtunnel __complete "${1#@}" ${2+"$2"} 2>/dev/null)"
            ;;
        *)
            # shellcheck disable=SC2086  # a list of plain words
            printf '%s\n' ${1//,/ }
            ;;
    esac
}

_jtunnel() {
    local IFS=$' \t\n' line cur word words i count=0 joins='' option='' ended='' given=' ' name=''
    local options='' values='' places='' list='' head='' break='' begun
    words=()
    COMPREPLY=()

    # bash 4 and newer take `--tag=work` and `8787:localhost` apart; here they are one word again.
    line=${COMP_LINE:0:$COMP_POINT}
    cur=${line##*[[:space:]]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == *[!:=]* && -z $joins ]]; then
            words[count]=$word
            count=$((count + 1))
        elif ((count > 0)); then
            words[count - 1]+=$word
        fi
        joins=''
        [[ $word == *[!:=]* ]] || joins=1
    done
    word=${COMP_WORDS[COMP_CWORD]-}
    if [[ -n $cur && $count -gt 0 && (-n $joins || $word != *[!:=]*) ]]; then
        count=$((count - 1))
    fi
    cur=${cur#[\'\"]}

    # What was given, and what is wanted here.
    if ((count == 0)); then
        list=@COMMANDS@
        [[ $cur == -* ]] && list=--help,--version
    else
        _jtunnel_table "${words[0]}"
        for ((i = 1; i < count; i++)); do
            word=${words[i]}
            given+="$word "
            if [[ -n $option ]]; then
                option=''
            elif [[ $word == -- && -z $ended ]]; then
                ended=1
            elif [[ $word != -* || -n $ended ]]; then
                name=${name:-$word}
                [[ ${places%%[[:space:]]*} == *+ ]] || places=${places#"${places%%[[:space:]]*}"}
                places=${places# }
            elif [[ " $values " == *" $word="* ]]; then
                option=$word
            fi
        done
        list=${places%%[[:space:]]*}
        list=${list%+}
        [[ $list != - ]] || list=''
        if [[ -z $option && -z $ended && $cur == --*=* ]]; then
            option=${cur%%=*}
            head=$option=
        fi
        if [[ -n $option ]]; then
            values=" $values "
            list=${values#*" $option="}
            [[ $list == "$values" ]] && list=''
            list=${list%%[[:space:]]*}
        elif [[ -z $ended && ($cur == -* || (-z $list && -z $cur && -z $places)) ]]; then
            list=$options
        fi
    fi

    # Readline replaces what stands behind the last of its word breaks, not the whole word.
    for i in = :; do
        [[ ${COMP_WORDBREAKS-} == *$i* && $cur == *$i* ]] || continue
        begun=${cur%"${cur##*"$i"}"}
        ((${#begun} > ${#break})) && break=$begun
    done
    while read -r word; do
        [[ $word == *+ || $given != *" $word "* ]] || continue
        word=$head${word%+}
        [[ $word == "$cur"* && $word != "$head" ]] && COMPREPLY[${#COMPREPLY[@]}]=${word#"$break"}
    done <<< "$(_jtunnel_words "$list" "$name")"
    return 0
}

complete -F _jtunnel jtunnel
