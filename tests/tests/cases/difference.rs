//! The difference between two texts, line by line.

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;

/// The changed lines with a few around them: `-` only in the first text, `+` only in the second.
pub fn difference(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let lines = script(&old, &new);
    let changed: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].0 != ' ').collect();
    let near = |at: usize| changed.iter().any(|&change| change.abs_diff(at) <= CONTEXT);
    let mut text = String::new();
    let mut shown = true;
    for (at, (mark, line)) in lines.iter().enumerate() {
        if near(at) {
            text += &format!("{mark} {line}\n");
        } else if shown {
            text += "  …\n";
        }
        shown = near(at);
    }
    text
}

/// Both texts merged along a longest common subsequence.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // The length of the longest common subsequence of the rests from each pair of lines on.
    let mut longest = vec![vec![0u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i][j] = match old[i] == new[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    lines
}

#[test]
fn changes_are_shown_with_their_surroundings() {
    let old = "a\nb\nc\nd\ne\nf\ng\nh";
    let new = "a\nb\nc\nd\ne\nF\ng\nh\ni";
    assert_eq!(difference(old, new), "  …\n  c\n  d\n  e\n- f\n+ F\n  g\n  h\n+ i\n");
    assert_eq!(difference("x", ""), "- x\n");
    assert_eq!(difference("", "x"), "+ x\n");
}
