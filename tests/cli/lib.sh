# lib.sh - for tests/cli/*.sh: a scratch folder, checks, and the closing line.
# Source it first; $KIJIL is the program under test. Each check prints only
# when it fails. Call `done_testing` last.
# shellcheck shell=bash
set -u
KIJIL=${KIJIL:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/release/kijil}
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
SHARED=$TOP/../shared/data
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T" || exit 2
_pass=0 _fail=0 _skip=0

ok() { _pass=$((_pass + 1)); }
bad() { _fail=$((_fail + 1)); echo "FAIL $*"; }
skip() { _skip=$((_skip + 1)); echo "skip $*"; }
# rc NAME WANT COMMAND... : exit status; output in $T/out and $T/err
rc() {
    local name=$1 want=$2 got
    shift 2
    "$@" >"$T/out" 2>"$T/err"
    got=$?
    if [[ $got -eq $want ]]; then ok; else
        bad "$name: exit status $got, want $want"
        sed 's/^/  /' "$T/err" | tail -n 5
    fi
}
# What two empty things have in common is no finding: these are sums of nothing.
_nothing() { [[ $1 == e3b0c44298fc1c149afb* || $1 == "4294967295 0" || $1 == d41d8cd98f00b204* ]]; }
# is NAME GOT WANT
is() {
    if [[ $2 != "$3" ]]; then
        bad "$1: got [$2], want [$3]"
    elif _nothing "$2"; then
        bad "$1: both are the sum of nothing"
    else ok; fi
}
# same NAME FILE FILE : equal, and not empty
same() {
    if [[ (-f $2 && ! -s $2) || (-f $3 && ! -s $3) ]]; then
        bad "$1: $2 or $3 is empty"
    else equal "$@"; fi
}
# equal NAME FILE FILE : and both may be empty
equal() { if cmp -s "$2" "$3"; then ok; else bad "$1: $2 and $3 differ"; fi; }
# differ NAME FILE FILE : both are there
differ() {
    cmp -s "$2" "$3"
    case $? in
    0) bad "$1: $2 and $3 are the same" ;;
    1) ok ;;
    *) bad "$1: $2 and $3 cannot be compared" ;;
    esac
}
# has NAME FILE PATTERN (extended regular expression)
has() { if grep -aqE -- "$3" "$2"; then ok; else bad "$1: no /$3/ in $2"; fi; }
# hasnt NAME FILE PATTERN : a file that is there, and a pattern that is one
hasnt() {
    grep -aqE -- "$3" "$2"
    case $? in
    0) bad "$1: /$3/ in $2" ;;
    1) ok ;;
    *) bad "$1: $2 cannot be searched for /$3/" ;;
    esac
}
# killed N[:NAME] COMMAND... : kills the program before the N-th of its operations that
# change files (of those by a path with NAME in it), whatever the machine's speed, and
# counts it in $kills; false when it came to its end without so many
kills=0
killed() {
    local at=$1 status so=${KIJIL%/*}/tests/kill_at.so only=()
    shift
    [[ $at =~ ^[1-9][0-9]*(:.+)?$ ]] || bad "killed: no operation has the number $at"
    [[ -e $so ]] || make -s -C "$TOP" "CONFIG=$(basename "${KIJIL%/*}")" "${so#"$TOP/"}"
    [[ $at == *:* ]] && only=("KILL_NAME=${at#*:}")
    (
        export LD_PRELOAD=$so KILL_AT=${at%%:*} "${only[@]}"
        export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0
        exec "$@"
    ) >/dev/null 2>"$T/killed.err" &
    wait $! 2>/dev/null
    status=$?
    case $status in
    137) kills=$((kills + 1)) ;;
    0 | 3) return 1 ;;
    *)
        bad "to be killed at operation $at: exit status $status"
        sed 's/^/  /' "$T/killed.err" | tail -n 5
        return 1
        ;;
    esac
}
# python_with MODULE: the Python that can import it, or nothing
python_with() {
    local p
    for p in python3 /usr/bin/python3; do
        if "$p" -c "import $1" 2>/dev/null; then
            echo "$p"
            return
        fi
    done
}
done_testing() {
    echo "$_pass passed, $_fail failed, $_skip skipped"
    [[ $_fail -eq 0 ]]
    exit
}
