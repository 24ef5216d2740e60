//! A line chart as an SVG file: what the examples draw their curves with.

/// A chart of one line over its index, with axes, ticks and a title, as SVG text.
pub fn line(title: &str, x_label: &str, y_label: &str, values: &[f32]) -> String {
    let (w, h, left, bottom, top, right) = (720.0, 400.0, 64.0, 48.0, 36.0, 16.0);
    let most = values.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let n = values.len().max(2) as f32 - 1.0;
    let x = |i: f32| left + (w - left - right) * i / n;
    let y = |v: f32| h - bottom - (h - bottom - top) * (v / most).clamp(0.0, 1.0);
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .filter(|(_, v)| v.is_finite())
        .map(|(i, v)| format!("{:.1},{:.1}", x(i as f32), y(*v)))
        .collect();
    let mut s = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{w}\" height=\"{h}\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{title}</text>\n",
        w / 2.0
    );
    for k in 0..=5 {
        let (v, i) = (most * k as f32 / 5.0, n * k as f32 / 5.0);
        s += &format!(
            "<line x1=\"{left}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{v:.2}</text>\n\
             <text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{i:.0}</text>\n",
            w - right,
            left - 6.0,
            y(v) + 4.0,
            x(i),
            h - bottom + 18.0,
            y = y(v),
        );
    }
    s += &format!(
        "<polyline fill=\"none\" stroke=\"#1f77b4\" stroke-width=\"1.5\" points=\"{}\"/>\n\
         <text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text>\n\
         <text x=\"16\" y=\"{mid}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {mid})\">{y_label}</text>\n</svg>\n",
        points.join(" "),
        (w + left) / 2.0,
        h - 10.0,
        mid = h / 2.0
    );
    s
}
