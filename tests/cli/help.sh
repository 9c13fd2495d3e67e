#!/bin/bash
# help.sh - what a newcomer meets first: the table, the help, wrong words.
# shellcheck source=tests/cli/lib.sh
. "$(dirname "$0")/lib.sh"

rc "no command" 2 "$KIJIL"
has "no command: the table" "$T/err" 'Curation'
rc "--help" 0 "$KIJIL" --help
cp "$T/out" table
rc "unknown command" 2 "$KIJIL" frobnicate
rc "--version" 0 "$KIJIL" --version
has "--version" "$T/out" '^kijil [0-9]+\.[0-9]+'

# Every command explains itself, and its man page is made of the same words.
rc "man pages" 0 "$KIJIL" completion man man
for name in $(awk '/^  [a-z]/ {print $1}' table); do
    rc "help $name" 0 "$KIJIL" help "$name"
    has "help $name" "$T/out" "^kijil $name - "
    has "help $name: usage" "$T/out" "^usage: kijil $name"
    has "man $name" "man/kijil-$name.1" '^\.SH SYNOPSIS'
    if [[ $name != help && $name != completion ]]; then
        rc "$name: wrong option" 2 "$KIJIL" "$name" --no-such-option-here
        has "$name: wrong option" "$T/err" 'no-such-option-here'
    fi
done

# A wrong value, or none: the option as typed, what it takes, and an example.
for page in man/kijil-*.1; do
    name=${page#man/kijil-} && name=${name%.1}
    "$KIJIL" help "$name" | sed -nE 's/^ +(-[A-Za-z], )?--([a-z0-9-]+) ([^ ]+).*/\2 \3/p' >options
    while read -r option takes; do
        err=$("$KIJIL" "$name" "--$option" 2>&1 >/dev/null </dev/null)
        echo "$? kijil $name: --$option needs a value: |${err%%$'\n'*}"
        [[ $takes == @(N|S|SIZE|SHARE|P%|BYTES) ]] || continue
        err=$("$KIJIL" "$name" "--$option=?" 2>&1 >/dev/null </dev/null)
        echo "$? kijil $name: --$option takes |${err%%$'\n'*}"
    done <options
done >refused
awk -F'|' '{
    want = substr($1, 3); got = substr($0, length($1) + 2)
    if ($1 !~ /^2 / || index(got, want) != 1 ||
        (want ~ /takes/ && got !~ /\(like [^)]+\), not .\?.$/)) print
}' refused >wrong
is "options that do not say what they take" "$(cat wrong)" ""
is "options asked: hundreds" "$(($(wc -l <refused) > 300))" 1
rc "a short option" 2 "$KIJIL" lid -j many
has "a short option" err "^kijil lid: -j takes a whole number from 0 to 1024 \(like 4\), not 'many'"
rc "a word of several" 2 "$KIJIL" lid --progress=x
has "a word of several" err "--progress takes auto, plain, json or never, not 'x'"
for shell in bash zsh fish; do
    rc "completion $shell" 0 "$KIJIL" completion $shell
    has "completion $shell" "$T/out" extract
done
rc "completion for no shell" 2 "$KIJIL" completion tcsh
if bash -c 'type complete' >/dev/null 2>&1; then
    "$KIJIL" completion bash >c.bash
    # shellcheck disable=SC2016
    is "bash completes options" "$(bash -c '. ./c.bash
        COMP_WORDS=(kijil filter --rejec) COMP_CWORD=2; _kijil
        echo "${COMPREPLY[*]}"')" "--rejects"
fi
done_testing
