# table.awk - results of an experiment (arm, seed, lr, tokens, TFLOP, group, bits per
# byte) as a Markdown table: mean and standard deviation over seeds at the end of the
# runs, and the paired differences from the first arm with a 95 % interval by Student.
BEGIN {
    FS = "\t"
    split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", student, " ")
}
function note(list, key) { if (!((list, key) in seen)) { seen[list, key] = 1; return 1 } return 0 }
{
    if (note("arm", $1)) arms[++na] = $1
    if (note("seed", $2)) seeds[++ns] = $2
    if (note("group", $6)) groups[++ng] = $6
    lr[$1] = $3; tokens[$1] = $4; flops[$1] = $5
    bits[$1, $2, $6] = $7 # the last point of a curve stays
}
function mean_of_groups(a, s,   g, sum) {
    for (g = 1; g <= ng; g++) sum += bits[a, s, groups[g]]
    return sum / ng
}
function moments(n,   i) {
    mean = 0; sd = 0
    for (i = 1; i <= n; i++) mean += v[i] / n
    for (i = 1; i <= n; i++) sd += (v[i] - mean) ^ 2
    sd = n > 1 ? sqrt(sd / (n - 1)) : 0
}
function cell(a, g,   i) {
    for (i = 1; i <= ns; i++) v[i] = bits[a, seeds[i], g]
    moments(ns)
    return sprintf("%.3f ± %.3f", mean, sd)
}
function difference(a, g,   i, half) {
    for (i = 1; i <= ns; i++) v[i] = bits[a, seeds[i], g] - bits[arms[1], seeds[i], g]
    moments(ns)
    half = ns > 1 ? student[ns - 1] * sd / sqrt(ns) : 0
    return sprintf("%+.3f (%+.3f to %+.3f)", mean, mean - half, mean + half)
}
END {
    groups[0] = "mean"
    for (a = 1; a <= na; a++)
        for (s = 1; s <= ns; s++) bits[arms[a], seeds[s], "mean"] = mean_of_groups(arms[a], seeds[s])
    row = "| bits/byte | lr | tokens | TFLOP"; rule = "|---|---|---|---"
    for (g = 1; g <= ng; g++) { row = row " | " groups[g]; rule = rule "|---" }
    print row " | mean |"; print rule "|---|"
    for (a = 1; a <= na; a++) {
        row = sprintf("| %s | %s | %d | %.2f", arms[a], lr[arms[a]], tokens[arms[a]], flops[arms[a]])
        for (g = 1; g <= ng; g++) row = row " | " cell(arms[a], groups[g])
        print row " | " cell(arms[a], "mean") " |"
    }
    row = "\n| against " arms[1]; rule = "|---"
    for (g = 1; g <= ng; g++) { row = row " | " groups[g]; rule = rule "|---" }
    print row " | mean |"; print rule "|---|"
    for (a = 2; a <= na; a++) {
        row = "| " arms[a]
        for (g = 1; g <= ng; g++) row = row " | " difference(arms[a], groups[g])
        print row " | " difference(arms[a], "mean") " |"
    }
}
