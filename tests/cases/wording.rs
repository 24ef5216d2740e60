//! Whether a refusal says what PyTorch's says: the same numbers, the same dtypes, and by and large the same words.
//!
//! All numbers of PyTorch's text must occur in ours, in their order; all dtypes that it names must be named; and of its
//! other words at least three in five must be there. So a text about something else fails, and so does one without the
//! sizes. Quotes, case and plurals do not count, nor do words that say nothing here. `wording.txt` lists what PyTorch says
//! and we deliberately do not, with the reasons.

/// Words that carry no meaning of their own, or one that there is not here (complex numbers).
const EMPTY: &[&str] =
    &["the", "and", "for", "but", "are", "was", "with", "that", "this", "can", "torch", "complex", "either"];

/// PyTorch's names of dtypes, and ours.
const DTYPES: &[(&str, &str)] = &[
    ("Double", "f64"),
    ("Float", "f32"),
    ("Half", "f16"),
    ("BFloat16", "bf16"),
    ("Long", "i64"),
    ("Int", "i32"),
    ("Short", "i16"),
    ("Char", "i8"),
    ("Byte", "u8"),
    ("Bool", "bool"),
    ("Boolean", "bool"),
    ("boolean", "bool"),
    ("double", "f64"),
    ("float", "f32"),
    ("int64", "i64"),
    ("int32", "i32"),
];

/// What a text says.
#[derive(Debug, Default)]
struct Said {
    numbers: Vec<f64>,
    dtypes: Vec<String>,
    words: Vec<String>,
}

impl Said {
    fn of(text: &str) -> Said {
        let text = text.replace("long int", "Long");
        // Matrices are `2x3`.
        let chars: Vec<char> = text.chars().collect();
        let digit = |i: Option<usize>| i.and_then(|i| chars.get(i)).is_some_and(char::is_ascii_digit);
        let split: Vec<char> = (0..chars.len())
            .map(|i| if chars[i] == 'x' && digit(i.checked_sub(1)) && digit(Some(i + 1)) { ' ' } else { chars[i] })
            .collect();
        let mut said = Said::default();
        let mut at = 0;
        while at < split.len() {
            let c = split[at];
            let start = at;
            let run = |at: usize, part: fn(char) -> bool| at + split[at..].iter().take_while(|c| part(**c)).count();
            if c.is_ascii_digit() {
                at = run(at, |c| c.is_ascii_alphanumeric() || c == '.');
                let signed = start > 0 && split[start - 1] == '-' && (start < 2 || !split[start - 2].is_alphanumeric());
                if split[at - 1] == 'e' && split.get(at).is_some_and(|c| matches!(c, '+' | '-')) {
                    at = run(at + 1, |c| c.is_ascii_digit());
                }
                let all: String = split[start..at].iter().collect();
                // A number at the end of a sentence, or before a unit, as in `2D`.
                let number = (1..=all.len()).rev().find_map(|n| all[..n].parse::<f64>().ok());
                said.numbers.extend(number.map(|n| if signed { -n } else { n }));
            } else if c.is_alphabetic() || c == '_' {
                at = run(at, |c| c.is_alphanumeric() || c == '_');
                said.word(&split[start..at].iter().collect::<String>());
            } else {
                at += 1;
            }
        }
        said
    }

    fn word(&mut self, word: &str) {
        if let Some((_, ours)) = DTYPES.iter().find(|(torch, ours)| *torch == word || *ours == word) {
            self.dtypes.push((*ours).into());
            return;
        }
        let word = word.to_lowercase();
        let word = word.strip_suffix("_cpu").unwrap_or(&word).trim_matches('_');
        let word = if word.len() > 3 { word.strip_suffix('s').unwrap_or(word) } else { word };
        if word.len() > 2 && !EMPTY.contains(&word) {
            self.words.push(word.into());
        }
    }
}

/// What our text lacks of PyTorch's.
pub fn lacks(torch: &str, ours: &str) -> Option<String> {
    let (want, got) = (Said::of(torch), Said::of(ours));
    let mut rest = got.numbers.iter();
    if let Some(n) = want.numbers.iter().find(|n| !rest.any(|m| m == *n)) {
        return Some(format!("the number {n} is missing, or not in its place"));
    }
    if let Some(d) = want.dtypes.iter().find(|d| !got.dtypes.contains(d)) {
        return Some(format!("the dtype {d} is missing"));
    }
    let missing: Vec<&String> = want.words.iter().filter(|w| !got.words.contains(w)).collect();
    (5 * missing.len() > 2 * want.words.len()).then(|| format!("these words are missing: {missing:?}"))
}

/// Whether `wording.txt` has that text of PyTorch's.
pub fn excepted(torch: &str) -> bool {
    let list = include_str!("wording.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    list.into_iter().any(|part| torch.contains(part))
}

#[test]
fn a_text_about_something_else_fails() {
    let torch = "mm: mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)";
    assert_eq!(lacks(torch, "`matmul`: mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)"), None);
    assert!(lacks(torch, "`matmul`: mat1 and mat2 shapes cannot be multiplied (4x3 and 3x4)").is_some());
    assert!(lacks(torch, "`matmul`: shapes [3, 4] and [3, 4] are wrong").is_some());
    let torch = "result type Float can't be cast to the desired output type Long";
    assert_eq!(lacks(torch, "`add_`: result type f32 can't be cast to the desired output type i64"), None);
    assert!(lacks(torch, "`add_`: result type f32 can't be cast to the desired output type i32").is_some());
    assert!(lacks("got -0.5, expected [0, 3.40282e+38].", "got 0.5, expected [0, 3.40282e38]").is_some());
    assert_eq!(lacks("got -0.5, expected [0, 3.40282e+38].", "expected, but got -0.5: [0, 3.40282e38]"), None);
}
