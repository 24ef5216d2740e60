//! Whether two strided views of one memory share an element: what NumPy's exact `shares_memory` said of 2,000 pairs that
//! their bounds do not decide (`tools/overlap/generate.py`; the pairs are our own, NumPy computed the answers).

use tensorc_ir::Layout;
use tensorc_ir::alias::overlap;

fn layout(text: &str) -> Layout {
    let mut words = text.split_whitespace();
    let offset = words.next().unwrap().parse().unwrap();
    let dims: Vec<(&str, &str)> = words.map(|w| w.split_once(':').unwrap()).collect();
    Layout {
        shape: dims.iter().map(|(n, _)| n.parse::<usize>().unwrap()).collect(),
        strides: dims.iter().map(|(_, s)| s.parse::<isize>().unwrap()).collect(),
        offset,
    }
}

#[test]
fn views_share_elements_where_numpy_says_so() {
    let mut counts = [0; 2];
    for line in include_str!("pairs.txt").lines().filter(|l| !l.starts_with('#')) {
        let [a, b, share] = line.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let (a, b, share) = (layout(a), layout(b), share == "1");
        assert_eq!(overlap(&a, &b), share, "{line}");
        assert_eq!(overlap(&b, &a), share, "{line}");
        counts[share as usize] += 1;
    }
    assert_eq!(counts, [1000, 1000]);
}
