# cuda_ptx.awk - reads the PTX of nn/cuda for what neither a compiler's warning nor the
# emulated device tells (scripts/cuda-check).
#
# 1. Neighbours stored one by one: four or more single stores to the places behind each
#    other, where one of 16 bytes would do. nvcc splits the copy of a struct whenever the
#    loop that filled it is unrolled late. In kernels for several elements a thread (a
#    parameter of 4 or 8) loads as well.
# 2. Fused products in kernels whose results are promised to be the CPU's, bit by bit:
#    the CPU rounds a product before it is added (kj_mul in nn/arith.h).
function behind(op, base, at, width,    run) {
    run = 1 + length_of[op, base, at - width]
    length_of[op, base, at] = run
    if (run > most) {
        most = run
        what = op width * 8
    }
}
function finish() {
    if (kernel == "")
        return
    if (most >= 4)
        complain("moves " most " neighbours one by one (" what ")")
    if (exact && fused)
        complain("fuses " fused " products, and promises the CPU's bits")
    kernels++
    kernel = ""
}
function complain(text) {
    print "cuda-check: " kernel " " text
    bad = 1
}
/^\.(visible|weak) \.entry|^\.entry/ {
    finish()
    match($0, /[0-9]+k_/) # the length of a name stands before it
    n = substr($0, RSTART, RLENGTH - 2)
    kernel = substr($0, RSTART + RLENGTH - 2, n)
    rest = substr($0, RSTART + RLENGTH - 2 + n)
    wide = rest ~ /Li[48]E/
    exact = kernel ~ /^k_(adamw_low|chance|embed_mean|rank_sum)$/
    most = fused = 0
    split("", length_of)
    next
}
/^\$L/ { split("", length_of) } # another run of instructions
/fma\.rn/ { fused++ }
match($0, /(ld|st)\.global\.[a-z][0-9]+[ \t].*\[%rd[0-9]+(\+-?[0-9]+)?\]/) {
    t = substr($0, RSTART, RLENGTH)
    op = substr(t, 1, 2)
    if (op == "ld" && !wide)
        next
    match(t, /global\.[a-z][0-9]+/)
    width = substr(t, RSTART + 8, RLENGTH - 8) / 8
    match(t, /%rd[0-9]+/)
    base = substr(t, RSTART, RLENGTH)
    at = match(t, /\+-?[0-9]+\]/) ? substr(t, RSTART + 1, RLENGTH - 2) + 0 : 0
    behind(op, base, at, width)
}
END {
    finish()
    if (!kernels) {
        print "cuda-check: no PTX to read"
        bad = 1
    }
    if (!bad)
        print "cuda-check: " kernels " kernels move 16 bytes at a time and round as promised"
    exit bad
}
