//! A curve in text: what the examples show how training went with.

/// The values as a picture of 64 by 10 characters, from the first to the last; each column is a mean.
pub fn text(title: &str, values: &[f32]) -> String {
    const ROWS: usize = 10;
    let columns = values.len().clamp(1, 64);
    let mean = |c: usize| {
        let part = &values[c * values.len() / columns..((c + 1) * values.len() / columns).min(values.len())];
        part.iter().sum::<f32>() / part.len().max(1) as f32
    };
    let means: Vec<f32> = (0..columns).map(mean).collect();
    let finite = || means.iter().copied().filter(|v| v.is_finite());
    let (low, high) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let row = |v: f32| ((high - v) / (high - low).max(f32::MIN_POSITIVE) * (ROWS - 1) as f32).round() as usize;
    let mut out = format!("{title}\n");
    for r in 0..ROWS {
        let label = match r {
            0 => format!("{high:9.4}"),
            r if r == ROWS - 1 => format!("{low:9.4}"),
            _ => " ".repeat(9),
        };
        let line: String = means.iter().map(|v| if v.is_finite() && row(*v) == r { '*' } else { ' ' }).collect();
        out += &format!("{label} |{}\n", line.trim_end());
    }
    out + &format!("{} +{}\n", " ".repeat(9), "-".repeat(columns))
}
