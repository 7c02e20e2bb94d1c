//! YAML as it is written: indented lines, with the reasons above them if they are asked for.

use std::fmt::Write;

/// How wide a comment gets.
const WIDTH: usize = 96;

/// A text of YAML in the making.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    text: String,
    explains: bool,
    depth: usize,
    /// The next line begins an item of a list.
    begins_item: bool,
}

impl Sheet {
    pub(crate) fn new(explains: bool) -> Self {
        Self {
            explains,
            ..Self::default()
        }
    }

    /// A line such as `key: value`.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        let indent = "  ".repeat(self.depth);
        let begin = match self.begins_item {
            true => indent[..indent.len() - 2].to_owned() + "- ",
            false => indent,
        };
        self.begins_item = false;
        _ = writeln!(self.text, "{begin}{}", line.as_ref());
    }

    /// A map or a list that stands behind a key.
    pub(crate) fn block(&mut self, key: &str, content: impl FnOnce(&mut Self)) {
        self.line(format!("{key}:"));
        self.deeper(content);
    }

    /// A map that is an item of a list.
    pub(crate) fn item(&mut self, content: impl FnOnce(&mut Self)) {
        self.begins_item = true;
        self.deeper(content);
    }

    fn deeper(&mut self, content: impl FnOnce(&mut Self)) {
        self.depth += 1;
        content(self);
        self.depth -= 1;
    }

    /// Why the next line says what it says; only if that is to be explained.
    pub(crate) fn why(&mut self, why: impl AsRef<str>) {
        if self.explains {
            self.remark(why);
        }
    }

    /// A comment that is always there.
    pub(crate) fn remark(&mut self, remark: impl AsRef<str>) {
        // A comment in front of an item is one of the list.
        let depth = self.depth - usize::from(self.begins_item);
        let indent = "  ".repeat(depth);
        let mut line = String::new();
        for word in remark.as_ref().split_whitespace() {
            if !line.is_empty() && indent.len() + line.len() + word.len() + 3 > WIDTH {
                _ = writeln!(self.text, "{indent}#{line}");
                line.clear();
            }
            line.push(' ');
            line.push_str(word);
        }
        _ = writeln!(self.text, "{indent}#{line}");
    }

    pub(crate) fn next_document(&mut self) {
        self.text.push_str("---\n");
    }

    pub(crate) fn finish(self) -> String {
        self.text
    }
}

/// A text in double quotes, which is never taken for anything else.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            // A line break to YAML, and what it does not take as it is.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                _ = write!(quoted, "\\U{:08X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The value of a variable, or an argument, that is to arrive as it is: Kubernetes replaces
/// `$(NAME)` in it.
pub(crate) fn literal(text: &str) -> String {
    quoted(&text.replace('$', "$$"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml::Documents;

    #[test]
    fn reasons_stand_above_what_they_explain() {
        let write = |explains| {
            let mut sheet = Sheet::new(explains);
            sheet.block("list", |sheet| {
                sheet.item(|sheet| {
                    sheet.why("one");
                    sheet.line("a: 1");
                    sheet.why("two");
                    sheet.line("b: 2");
                });
            });
            sheet.finish()
        };
        assert_eq!(write(false), "list:\n  - a: 1\n    b: 2\n");
        assert_eq!(
            write(true),
            "list:\n  # one\n  - a: 1\n    # two\n    b: 2\n"
        );
    }

    #[test]
    fn a_long_reason_is_folded() {
        let mut sheet = Sheet::new(true);
        sheet.why("word ".repeat(30));
        let text = sheet.finish();
        assert_eq!(text.lines().count(), 2);
        assert!(
            text.lines()
                .all(|line| line.starts_with("# word") && line.len() <= WIDTH)
        );
    }

    proptest! {
        #[test]
        fn what_is_quoted_is_read_as_it_was(text in ".*|[\\x00-\\u{2030}]*") {
            // No YAML has it.
            prop_assume!(!text.contains('\0'));
            let yaml = format!("a: {}\n", quoted(&text));
            let documents = Documents::read(&yaml).unwrap();
            let read = documents.iter().next().unwrap().get("a").unwrap();
            prop_assert_eq!(read.string(), Some(&*text));
        }
    }
}
