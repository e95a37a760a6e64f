//! `ottla.toml`: Kafka's key names, quoted (`"log.retention.ms" = 1000`) or as tables (`[log.retention]`, `ms = 1000`).
//!
//! Owns the way from a TOML document to flat keys with lines. Knows no keys.

use toml::de::{DeTable, DeValue};

use super::properties_file::Property;

/// The values of a document by flat key, or the line that is malformed and why.
pub(super) fn parse_toml(text: &str) -> Result<Vec<Property>, (usize, String)> {
    let document = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        (line, error.message().to_owned())
    })?;
    let mut properties = Vec::new();
    flatten(text, "", document.get_ref(), &mut properties)?;
    properties.sort_by_key(|property| property.line);
    Ok(properties)
}

/// Tables nest as deep as the document does, which the parser bounds.
fn flatten(text: &str, prefix: &str, table: &DeTable<'_>, out: &mut Vec<Property>) -> Result<(), (usize, String)> {
    for (name, value) in table {
        let name = name.get_ref();
        let key = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        let line = line_of(text, value.span().start);
        match value.get_ref() {
            DeValue::Table(inner) => flatten(text, &key, inner, out)?,
            DeValue::Array(items) => {
                let items: Option<Vec<String>> = items.iter().map(|item| scalar(item.get_ref())).collect();
                let items = items.ok_or_else(|| (line, format!("`{key}`: a list holds text, numbers and booleans")))?;
                out.push(Property { key, value: items.join(","), line });
            }
            other => {
                let value =
                    scalar(other).ok_or_else(|| (line, format!("`{key}`: a date is not a value of any key")))?;
                out.push(Property { key, value, line });
            }
        }
    }
    Ok(())
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.bytes().take(position).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_dotted_and_nested_keys_are_the_same() {
        let text = "\"num.partitions\" = 3\nlog.retention.ms = 1_000\nlisteners = [\"a:1\", \"b:2\"]\n[log.segment]\nbytes = 0x200000\n[auto.create.topics]\nenable = false\n";
        let flat: Vec<(String, String, usize)> =
            parse_toml(text).expect("well-formed").into_iter().map(|one| (one.key, one.value, one.line)).collect();
        let expected = [
            ("num.partitions", "3", 1),
            ("log.retention.ms", "1000", 2),
            ("listeners", "a:1,b:2", 3),
            ("log.segment.bytes", "2097152", 5),
            ("auto.create.topics.enable", "false", 7),
        ];
        assert_eq!(flat, expected.map(|(key, value, line)| (key.to_owned(), value.to_owned(), line)));
    }

    #[test]
    fn what_is_not_a_value_names_its_line() {
        assert_eq!(parse_toml("a = 1\nb = 2020-01-01").expect_err("a date").0, 2);
        assert_eq!(parse_toml("a = 1\nb = [[1]]").expect_err("a nested list").0, 2);
        assert_eq!(parse_toml("a = 1\nb = \n").expect_err("no value").0, 2);
        assert_eq!(parse_toml("a = 1\n\na = 2\n").expect_err("twice").0, 3);
    }
}
