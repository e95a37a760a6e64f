//! Any decoded message as a tree of named fields, and that tree as lines of `path = value`.
//!
//! The tree is read from the message's `Debug` form, so that no message has to know of it. In a path, an element of a list of
//! structs goes by what identifies it (`topics{a}.partitions{0}.error_code`), so that order does not matter where the
//! protocol promises none; other elements go by position.

use anyhow::{Context, Result, bail, ensure};

/// A decoded value.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// A number, a boolean, an id, or null.
    Plain(String),
    /// A string.
    Text(String),
    /// Bytes, such as record batches.
    Bytes(Vec<u8>),
    /// A list.
    List(Vec<Tree>),
    /// A struct's fields in the order of their declaration.
    Struct(Vec<(String, Tree)>),
}

impl Tree {
    /// The tree of a value, from its `Debug` form.
    pub fn of(value: &impl std::fmt::Debug) -> Result<Self> {
        let text = format!("{value:?}");
        let mut parser = Parser { rest: &text };
        let tree = parser.value().with_context(|| format!("in the debug form {text}"))?;
        ensure!(parser.rest.is_empty(), "left behind the debug form: {}", parser.rest);
        Ok(tree)
    }

    /// The tree as lines of `path = value`.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        self.write("", &mut lines);
        lines
    }

    fn write(&self, path: &str, lines: &mut Vec<(String, String)>) {
        match self {
            Self::Plain(value) => lines.push((path.to_owned(), value.clone())),
            Self::Text(text) => lines.push((path.to_owned(), format!("{text:?}"))),
            Self::Bytes(bytes) => lines.push((path.to_owned(), format!("{} bytes", bytes.len()))),
            Self::Struct(fields) => {
                for (name, value) in fields {
                    let separator = if path.is_empty() { "" } else { "." };
                    value.write(&format!("{path}{separator}{name}"), lines);
                }
            }
            Self::List(elements) => self::write_list(path, elements, lines),
        }
    }

    /// What tells this struct from others in its list.
    fn identity(&self) -> Option<String> {
        const IDENTIFYING: [&str; 18] = [
            "name",
            "topic",
            "topic_id",
            "topic_name",
            "partition_index",
            "partition",
            "index",
            "key",
            "broker_id",
            "node_id",
            "api_key",
            "resource_name",
            "log_dir",
            "batch_index",
            "base_offset",
            "group_id",
            "group_instance_id",
            "member_id",
        ];
        let Self::Struct(fields) = self else { return None };
        // A config's synonyms have one name and differ by source.
        let source = fields.iter().find(|(name, _)| name == "source").and_then(|(_, value)| value.plain());
        IDENTIFYING.iter().find_map(|wanted| {
            let (_, value) = fields.iter().find(|(name, _)| name == wanted)?;
            let shown = match value {
                Self::Text(text) if text.is_empty() => return None,
                Self::Text(text) => text.escape_debug().to_string(),
                Self::Plain(plain) if plain == "null" => return None,
                // An absent id would otherwise win over the name that is there.
                Self::Plain(plain) if *wanted == "topic_id" && plain.chars().all(|letter| letter == 'A') => {
                    return None;
                }
                Self::Plain(plain) => plain.clone(),
                _ => return None,
            };
            Some(match source {
                Some(source) => format!("{shown} from {source}"),
                None => shown,
            })
        })
    }

    /// The text of a plain value.
    pub fn plain(&self) -> Option<&str> {
        if let Self::Plain(plain) = self { Some(plain) } else { None }
    }
}

fn write_list(path: &str, elements: &[Tree], lines: &mut Vec<(String, String)>) {
    let all_plain = elements.iter().all(|element| matches!(element, Tree::Plain(_) | Tree::Text(_)));
    if all_plain {
        let shown: Vec<String> = elements
            .iter()
            .map(|element| match element {
                Tree::Text(text) => format!("{text:?}"),
                Tree::Plain(plain) => plain.clone(),
                _ => String::new(),
            })
            .collect();
        lines.push((path.to_owned(), format!("[{}]", shown.join(", "))));
        return;
    }
    lines.push((path.to_owned(), format!("list of {}", elements.len())));
    let mut named: Vec<(String, &Tree)> = Vec::with_capacity(elements.len());
    for (position, element) in elements.iter().enumerate() {
        let identity = element.identity().unwrap_or_else(|| format!("#{position}"));
        let repeats = named
            .iter()
            .filter(|(other, _)| *other == identity || other.starts_with(&format!("{identity} again")))
            .count();
        named.push((if repeats == 0 { identity } else { format!("{identity} again {repeats}") }, element));
    }
    // By number where there is one, so that 9 and its repeats come before 10.
    named.sort_by_key(|(identity, _)| {
        let number = identity.split(' ').next().and_then(|first| first.parse::<i64>().ok());
        (number.is_none(), number, identity.clone())
    });
    for (identity, element) in named {
        element.write(&format!("{path}{{{identity}}}"), lines);
    }
}

/// Reads what `derive(Debug)` writes, without line breaks.
struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Tree> {
        if self.eat("[") {
            return Ok(Tree::List(self.sequence("]", Self::value)?));
        }
        if self.eat("b\"") {
            return Ok(Tree::Bytes(self.byte_string()?));
        }
        if self.eat("\"") {
            return Ok(Tree::Text(self.text()?));
        }
        let end = self.rest.find([' ', ',', '(', ')', '{', '}', '[', ']', '"']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if self.eat("(") {
            let inner = self.value()?;
            ensure!(self.eat(")"), "no ) behind {word}");
            return Ok(inner);
        }
        if self.eat(" { ") {
            return Ok(Tree::Struct(self.sequence(" }", Self::field)?));
        }
        ensure!(!word.is_empty(), "a value is missing before {}", self.rest);
        Ok(Tree::Plain(if matches!(word, "None" | "Null") { "null".to_owned() } else { word.to_owned() }))
    }

    fn field(&mut self) -> Result<(String, Tree)> {
        let (name, rest) = self.rest.split_once(": ").context("a field has a name")?;
        self.rest = rest;
        Ok((name.to_owned(), self.value()?))
    }

    fn sequence<T>(&mut self, end: &str, mut element: impl FnMut(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let mut elements = Vec::new();
        if self.eat(end) {
            return Ok(elements);
        }
        loop {
            elements.push(element(self)?);
            if self.eat(end) {
                return Ok(elements);
            }
            ensure!(self.eat(", "), "no comma before {}", self.rest);
        }
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Result<char> {
        let letter = self.rest.chars().next().context("the text ends in the middle")?;
        self.rest = &self.rest[letter.len_utf8()..];
        Ok(letter)
    }

    fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    '0' => text.push('\0'),
                    'u' => {
                        ensure!(self.eat("{"), "an escape without a number");
                        let (digits, rest) = self.rest.split_once('}').context("an escape without an end")?;
                        self.rest = rest;
                        text.push(char::from_u32(u32::from_str_radix(digits, 16)?).context("an escape of no letter")?);
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
    }

    fn byte_string(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                '"' => return Ok(bytes),
                '\\' => match self.next()? {
                    'n' => bytes.push(b'\n'),
                    'r' => bytes.push(b'\r'),
                    't' => bytes.push(b'\t'),
                    '0' => bytes.push(0),
                    'x' => {
                        let (digits, rest) = self.rest.split_at_checked(2).context("an escape without digits")?;
                        self.rest = rest;
                        bytes.push(u8::from_str_radix(digits, 16)?);
                    }
                    other if other.is_ascii() => bytes.push(other as u8),
                    other => bail!("{other:?} in a byte string"),
                },
                other if other.is_ascii() => bytes.push(other as u8),
                other => bail!("{other:?} in a byte string"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its debug form is read")]
    struct Sample {
        name: Option<String>,
        data: bytes::Bytes,
        numbers: Vec<i32>,
        parts: Vec<Part>,
        missing: Option<i8>,
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "only its debug form is read")]
    struct Part {
        partition: i32,
        code: i16,
    }

    #[test]
    fn a_message_becomes_lines_by_identity() {
        let parts =
            vec![Part { partition: 10, code: 3 }, Part { partition: 9, code: 0 }, Part { partition: 9, code: 1 }];
        let data = bytes::Bytes::from_static(b"a\"\x00\xffz");
        let sample = Sample { name: Some("q\"\u{7f}".to_owned()), data, numbers: vec![1, -2], parts, missing: None };
        let tree = Tree::of(&sample).unwrap();
        let Tree::Struct(fields) = &tree else { panic!("{tree:?}") };
        assert_eq!(fields[0].1, Tree::Text("q\"\u{7f}".to_owned()));
        assert_eq!(fields[1].1, Tree::Bytes(b"a\"\x00\xffz".to_vec()));
        let lines: Vec<String> = tree.lines().into_iter().map(|(path, value)| format!("{path} = {value}")).collect();
        let parts = [
            "parts{9}.partition = 9",
            "parts{9}.code = 0",
            "parts{9 again 1}.partition = 9",
            "parts{9 again 1}.code = 1",
        ];
        assert_eq!(lines[1..4], ["data = 5 bytes", "numbers = [1, -2]", "parts = list of 3"]);
        assert_eq!(lines[4..8], parts);
        assert_eq!(lines[8..], ["parts{10}.partition = 10", "parts{10}.code = 3", "missing = null"]);
    }
}
