//! Kafka's own configuration format: Java properties.
//!
//! Owns the syntax: comments, continued lines, separators, escapes. Knows no keys.

/// One `key=value` and the line that it began on, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) key: String,
    pub(super) value: String,
    pub(super) line: usize,
}

/// The properties of a file in their order, or the line that is malformed and why.
pub(super) fn parse_properties(text: &str) -> Result<Vec<Property>, (usize, String)> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let mut logical = first.trim_start().to_owned();
        if logical.is_empty() || logical.starts_with(['#', '!']) {
            continue;
        }
        while is_continued(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start());
        }
        let (key, value) = split(&logical);
        let unescaped = |part: &str| unescape(part).map_err(|reason| (index + 1, reason));
        properties.push(Property { key: unescaped(key)?, value: unescaped(value)?, line: index + 1 });
    }
    Ok(properties)
}

/// An odd number of backslashes at the end: the last one escapes the line break.
fn is_continued(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The key ends at the first `=`, `:` or white space that no backslash escapes.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (index, letter) in line.char_indices() {
        if !escaped && (letter.is_ascii_whitespace() || matches!(letter, '=' | ':')) {
            let rest = line[index..].trim_start();
            return (&line[..index], rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start());
        }
        escaped = !escaped && letter == '\\';
    }
    (line, "")
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\u{c}'),
            Some('u') => {
                let digits: String = letters.by_ref().take(4).collect();
                let code = (digits.len() == 4).then(|| u32::from_str_radix(&digits, 16).ok()).flatten();
                let letter = code.and_then(char::from_u32);
                out.push(letter.ok_or_else(|| format!("`\\u{digits}` is not a character"))?);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String, usize)> {
        let properties = parse_properties(text).expect("well-formed");
        properties.into_iter().map(|one| (one.key, one.value, one.line)).collect()
    }

    fn pair(key: &str, value: &str, line: usize) -> (String, String, usize) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn all_separators_comments_and_continued_lines() {
        let text = "# a\n! b\n\n a.b = 1 \nc:2\nd 3\ne=x,\\\n   y\nf\ng\\=h=\\u0041\\tz\n";
        assert_eq!(
            pairs(text),
            [
                pair("a.b", "1 ", 4),
                pair("c", "2", 5),
                pair("d", "3", 6),
                pair("e", "x,y", 7),
                pair("f", "", 9),
                pair("g=h", "A\tz", 10),
            ]
        );
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert_eq!(parse_properties("a=1\nb=\\uzz"), Err((2, "`\\uzz` is not a character".to_owned())));
    }

    #[test]
    fn a_trailing_backslash_ends_with_the_file() {
        assert_eq!(pairs("a=1\\"), [pair("a", "1", 1)]);
    }
}
