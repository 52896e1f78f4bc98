//! Tables of TOML read field by field, so that every complaint can name the file, the line and the field.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{failure::Failure, output::printable};

/// A file's text with its name.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// What complaints call it.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

impl Source<'_> {
    /// The line that a byte is in, from 1.
    pub fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at.min(self.text.len())).unwrap_or_default();
        1 + before.matches('\n').count()
    }

    /// A complaint about a field.
    pub fn wrong(&self, at: usize, field: &str, what: impl AsRef<str>) -> Failure {
        let (name, field, what) = (printable(self.name), printable(field), printable(what.as_ref()));
        let field = if field.is_empty() { String::new() } else { format!(" {field}:") };
        Failure::Usage(format!("{name}:{}:{field} {what}", self.line(at)))
    }
}

/// A value with where it stands, and the field that it is of.
#[derive(Debug)]
pub struct Field<'a, 'i> {
    source: Source<'a>,
    /// The name, with those of the tables around it.
    pub name: String,
    value: &'a Spanned<DeValue<'i>>,
}

impl<'a, 'i> Field<'a, 'i> {
    /// Where it stands.
    pub fn at(&self) -> usize {
        self.value.span().start
    }

    /// A complaint about it.
    pub fn wrong(&self, what: impl AsRef<str>) -> Failure {
        self.source.wrong(self.at(), &self.name, what)
    }

    fn expected(&self, what: &str) -> Failure {
        self.wrong(format!("expected {what}, found {}", kind(self.value.get_ref())))
    }

    /// Text that is not empty.
    pub fn text(&self) -> Result<String, Failure> {
        let text = self.value.get_ref().as_str().ok_or_else(|| self.expected("text"))?.trim();
        if text.is_empty() { Err(self.wrong("is empty")) } else { Ok(text.to_owned()) }
    }

    /// A word of the command line: text or a number.
    pub fn word(&self) -> Result<String, Failure> {
        match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::String(_) => self.text(),
            _ => Err(self.expected("text or a number")),
        }
    }

    /// A finite number.
    pub fn number(&self) -> Result<f64, Failure> {
        let text = match self.value.get_ref() {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => return Err(self.expected("a number")),
        };
        text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| self.wrong("is not a finite number"))
    }

    /// A number above 0.
    pub fn positive(&self) -> Result<f64, Failure> {
        self.number().and_then(|number| if number > 0.0 { Ok(number) } else { Err(self.wrong("must lie above 0")) })
    }

    /// One of several words.
    pub fn one_of<T: Copy>(&self, known: &[(&str, T)]) -> Result<T, Failure> {
        let text = self.text()?;
        known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            self.wrong(format!("`{text}` is not known; known: {}", names.join(", ")))
        })
    }

    /// Whether it is a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// A table.
    pub fn table(&self) -> Result<Fields<'a, 'i>, Failure> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.expected("a table"))?;
        Ok(Fields::new(self.source, &self.name, table, self.at()))
    }

    /// The items of an array, of which there are some.
    pub fn items(&self) -> Result<Vec<Field<'a, 'i>>, Failure> {
        let items = self.value.get_ref().as_array().ok_or_else(|| self.expected("an array"))?;
        if items.is_empty() {
            return Err(self.wrong("is empty"));
        }
        Ok(items.iter().map(|value| Field { source: self.source, name: self.name.clone(), value }).collect())
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// A table whose fields are taken one by one; what is left in the end is not known.
#[derive(Debug)]
pub struct Fields<'a, 'i> {
    source: Source<'a>,
    name: String,
    at: usize,
    table: &'a DeTable<'i>,
    asked: Vec<&'static str>,
}

impl<'a, 'i> Fields<'a, 'i> {
    /// Of a table that has this name ("" for the file itself) and begins there.
    pub fn new(source: Source<'a>, name: &str, table: &'a DeTable<'i>, at: usize) -> Self {
        Self { source, name: name.to_owned(), at, table, asked: Vec::new() }
    }

    fn full(&self, name: &str) -> String {
        if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) }
    }

    /// A field, where there is one.
    pub fn take(&mut self, name: &'static str) -> Option<Field<'a, 'i>> {
        self.asked.push(name);
        let (_, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(Field { source: self.source, name: self.full(name), value })
    }

    /// Whether there is such a field.
    pub fn has(&self, name: &str) -> bool {
        self.table.iter().any(|(key, _)| key.get_ref() == name)
    }

    /// A field that must be there.
    pub fn need(&mut self, name: &'static str) -> Result<Field<'a, 'i>, Failure> {
        let missing = self.source.wrong(self.at, &self.full(name), "is missing");
        self.take(name).ok_or(missing)
    }

    /// A complaint about the table itself.
    pub fn wrong(&self, what: impl AsRef<str>) -> Failure {
        self.source.wrong(self.at, &self.name, what)
    }

    /// Refuses fields that nobody asked for.
    pub fn end(self) -> Result<(), Failure> {
        let unknown = self.table.iter().find(|(key, _)| !self.asked.contains(&&**key.get_ref()));
        let Some((key, _)) = unknown else { return Ok(()) };
        let what = format!("is not known; known: {}", self.asked.join(", "));
        Err(self.source.wrong(key.span().start, &self.full(key.get_ref()), what))
    }
}
