//! Two lists of lines, side by side in one column.

/// The lines of both: `-` only in the first, `+` only in the second.
pub(crate) fn lines(first: &[String], second: &[String]) -> Vec<String> {
    // How many lines are shared from here on.
    let mut shared = vec![vec![0_usize; second.len() + 1]; first.len() + 1];
    for (i, a) in first.iter().enumerate().rev() {
        for (j, b) in second.iter().enumerate().rev() {
            shared[i][j] = match a == b {
                true => shared[i + 1][j + 1] + 1,
                false => shared[i + 1][j].max(shared[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut out) = (0, 0, Vec::new());
    while let (Some(a), Some(b)) = (first.get(i), second.get(j)) {
        if a == b {
            out.push(format!("  {a}"));
            (i, j) = (i + 1, j + 1);
        } else if shared[i + 1][j] >= shared[i][j + 1] {
            out.push(format!("- {a}"));
            i += 1;
        } else {
            out.push(format!("+ {b}"));
            j += 1;
        }
    }
    out.extend(first[i..].iter().map(|line| format!("- {line}")));
    out.extend(second[j..].iter().map(|line| format!("+ {line}")));
    out
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn what_is_shared_stands_once() {
        let list = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let diff = lines(&list("a b c d"), &list("a x c d e"));
        assert_eq!(diff, ["  a", "- b", "+ x", "  c", "  d", "+ e"]);
    }
}
