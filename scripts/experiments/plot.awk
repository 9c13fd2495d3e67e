# plot.awk - curves of an experiment as SVG: bits per byte against tokens or TFLOP
# (x=tokens|flops), a panel for each group of held-out texts; thin lines are seeds,
# thick ones their means. Reads results.tsv as table.awk does; title is the heading.
function note(list, key) { if (!((list, key) in seen)) { seen[list, key] = 1; return 1 } return 0 }
BEGIN {
    FS = "\t"
    split("#b5542c #1f6f8b #5a8f29 #7d4fa0 #888888", colour, " ")
    W = 330; H = 260; L = 52; R = 12; T = 50; B = 40 # a panel and its margins
}
{
    if (note("arm", $1)) arms[++na] = $1
    if (note("seed", $2)) seeds[++ns] = $2
    if (note("group", $6)) groups[++ng] = $6
    k = $1 SUBSEP $2 SUBSEP $6
    n = ++points[k]
    px[k, n] = (x == "flops") ? $5 : $4 / 1e3
    py[k, n] = $7
    if (n == 1 || $7 < least[k]) least[k] = $7
    if (px[k, n] > most_x) most_x = px[k, n]
    all_y[$6, ++count[$6]] = $7
}
# the range of a panel: from the least value to what nine in ten do not exceed, so
# that the first steps do not press the ends of the curves together
function range(g,   i, j, t, n) {
    n = count[g]
    for (i = 1; i <= n; i++) v[i] = all_y[g, i]
    for (i = 2; i <= n; i++) {
        t = v[i]
        for (j = i - 1; j >= 1 && v[j] > t; j--) v[j + 1] = v[j]
        v[j + 1] = t
    }
    low = v[1]; high = v[int(n * 0.85) < 1 ? 1 : int(n * 0.85)]
    if (high - low < 0.01) high = low + 0.01
    low -= (high - low) * 0.05
}
function step_of(span, n,   s) { # a round distance of marks, about n of them
    s = 10 ^ int(log(span / n) / log(10) - (span < n))
    if (span / s > n * 2) s *= (span / s > n * 5) ? 5 : 2
    return s
}
function at_x(v) { return x0 + v / most_x * (W - L - R) }
function at_y(v) { return y0 - (v - low) / (high - low) * (H - T - B) }
function line(k, n, c, width, opacity,   i, path, out) {
    path = ""; out = 1
    for (i = 1; i <= n; i++) {
        if (py[k, i] > high) { out = 1; continue }
        if (out && i > 1) { # enters through the upper edge
            t = (py[k, i - 1] - high) / (py[k, i - 1] - py[k, i])
            path = path sprintf("M%.1f %.1f", at_x(px[k, i - 1] + t * (px[k, i] - px[k, i - 1])), at_y(high))
            out = 0
        }
        path = path sprintf("%s%.1f %.1f", out ? "M" : "L", at_x(px[k, i]), at_y(py[k, i]))
        out = 0
    }
    printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" opacity=\"%s\"/>\n", path, c, width, opacity
}
function label(tx, ty, anchor, s) {
    printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", tx, ty, anchor, s
}
END {
    cols = ng < 2 ? 1 : 2; rows = int((ng + cols - 1) / cols)
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" " \
        "font-family=\"sans-serif\" font-size=\"11\" fill=\"#333\">\n", cols * W, rows * H + 34, cols * W, rows * H + 34
    printf "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", title
    printf "<text x=\"%d\" y=\"20\" font-size=\"14\">%s</text>\n", L, title
    for (g = 1; g <= ng; g++) {
        range(groups[g])
        x0 = ((g - 1) % cols) * W + L; y0 = int((g - 1) / cols) * H + H - B
        label(x0, y0 - (H - T - B) - 8, "start", groups[g])
        s = step_of(high - low, 4)
        for (v0 = (int(low / s) + 1) * s; v0 <= high; v0 += s) {
            printf "<path d=\"M%.1f %.1fh%.1f\" stroke=\"#ddd\"/>\n", x0, at_y(v0), W - L - R
            label(x0 - 6, at_y(v0) + 4, "end", sprintf(s < 0.1 ? "%.2f" : "%.1f", v0))
        }
        s = step_of(most_x, 4)
        for (v0 = 0; v0 <= most_x * 1.001; v0 += s) label(at_x(v0), y0 + 15, "middle", v0)
        label(x0 + (W - L - R) / 2, y0 + 30, "middle", x == "flops" ? "TFLOP" : "thousand tokens")
        printf "<path d=\"M%.1f %.1fh%.1f\" stroke=\"#999\"/>\n", x0, y0, W - L - R
        for (a = 1; a <= na; a++) {
            n = 0
            for (i = 1; i <= ns; i++) {
                k = arms[a] SUBSEP seeds[i] SUBSEP groups[g]
                line(k, points[k], colour[a], 1, 0.45)
                n = points[k]
            }
            m = "mean" SUBSEP a SUBSEP g
            for (j = 1; j <= n; j++) {
                px[m, j] = py[m, j] = 0
                for (i = 1; i <= ns; i++) {
                    k = arms[a] SUBSEP seeds[i] SUBSEP groups[g]
                    px[m, j] += px[k, j] / ns; py[m, j] += py[k, j] / ns
                }
            }
            line(m, n, colour[a], 2.5, 1)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>%s: %.4f</title></circle>\n", \
                at_x(px[m, n]), at_y(py[m, n]), colour[a], arms[a], py[m, n]
        }
    }
    tx = L
    for (a = 1; a <= na; a++) {
        printf "<path d=\"M%d %dh18\" stroke=\"%s\" stroke-width=\"3\"/>\n", tx, rows * H + 16, colour[a]
        label(tx + 24, rows * H + 20, "start", arms[a])
        tx += 40 + 7 * length(arms[a])
    }
    label(tx, rows * H + 20, "start", "bits per byte; thin: seeds, thick: mean")
    print "</svg>"
}
