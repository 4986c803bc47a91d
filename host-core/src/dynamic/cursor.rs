//! The words and signs of WAVE.

/// A place in a text. Nothing here recurses, and nothing looks at a text twice.
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Where it is, in bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Takes a sign, if it comes next.
    pub(super) fn take(&mut self, sign: char) -> bool {
        let taken = self.rest().starts_with(sign);
        if taken {
            self.at += sign.len_utf8();
        }
        taken
    }

    /// The text from here on, after space and comments, which run from `//` to the end of the line.
    pub(super) fn rest(&mut self) -> &'a str {
        loop {
            let rest = self.text[self.at..].trim_start_matches([' ', '\t', '\n', '\r']);
            self.at = self.text.len() - rest.len();
            if !rest.starts_with("//") {
                return rest;
            }
            self.at += rest.find('\n').unwrap_or(rest.len());
        }
    }

    /// What may be a number.
    pub(super) fn number(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !"+-.".contains(c));
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += text.len();
        text
    }

    /// A name, with or without the `%` that tells names from words of the language.
    pub(super) fn name(&mut self) -> Option<&'a str> {
        if self.rest().starts_with('%') {
            self.at += 1;
            return self.word();
        }
        self.label()
    }

    pub(super) fn label(&mut self) -> Option<&'a str> {
        self.rest();
        self.word()
    }

    /// The word that comes next, left where it is.
    pub(super) fn peek(&mut self) -> Option<&'a str> {
        self.rest();
        let at = self.at;
        let word = self.word();
        self.at = at;
        word
    }

    fn word(&mut self) -> Option<&'a str> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let word = &rest[..end.unwrap_or(rest.len())];
        if !word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        self.at += word.len();
        Some(word)
    }

    /// A character in single quotes; `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn char(&mut self) -> Result<Option<char>, &'static str> {
        if !self.take('\'') {
            return Ok(None);
        }
        let char = self.character('\'')?;
        if !self.text[self.at..].starts_with('\'') {
            return Ok(None);
        }
        self.at += 1;
        Ok(char)
    }

    /// A text in double quotes; `None` if there is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn string(&mut self) -> Result<Option<String>, &'static str> {
        if self.rest().starts_with("\"\"\"") {
            return self.lines().map(Some);
        }
        if !self.take('"') {
            return Ok(None);
        }
        let mut text = String::new();
        while let Some(char) = self.character('"')? {
            text.push(char);
        }
        if !self.text[self.at..].starts_with('"') {
            return Err("the string does not end on its line");
        }
        self.at += 1;
        Ok(Some(text))
    }

    /// A string of several lines, between lines of three quotes. They may be indented as far as the last
    /// of these is, and so much of each is no part of the string.
    fn lines(&mut self) -> Result<String, &'static str> {
        const QUOTES: &str = "\"\"\"";
        let body = &self.text[self.at + QUOTES.len()..];
        let Some(end) = body.find(QUOTES) else { return Err("the string does not end") };
        self.at += 2 * QUOTES.len() + end;
        let body = &body[..end];
        let Some(body) = body.strip_prefix("\r\n").or(body.strip_prefix('\n')) else {
            return Err("a line begins after the three quotes");
        };
        let (lines, indent) = match body.rsplit_once('\n') {
            Some((lines, indent)) => (Some(lines), indent),
            None => (None, body),
        };
        if indent.contains(|char| char != ' ') {
            return Err("nothing but spaces goes before the last three quotes");
        }
        let mut text = String::new();
        for (i, line) in lines.into_iter().flat_map(|lines| lines.split('\n')).enumerate() {
            let Some(line) = line.strip_prefix(indent) else {
                return Err("a line is indented less than the last three quotes");
            };
            if i > 0 {
                text.push('\n');
            }
            let mut line = Cursor::new(line.strip_suffix('\r').unwrap_or(line));
            while let Some(char) = line.character('\n')? {
                text.push(char);
            }
        }
        Ok(text)
    }

    /// The next character of a text in quotes; `None` at the end of the text, or of the line.
    fn character(&mut self, quote: char) -> Result<Option<char>, &'static str> {
        let rest = &self.text[self.at..];
        let mut chars = rest.chars();
        let char = match chars.next() {
            None | Some('\n') => return Ok(None),
            Some(char) if char == quote => return Ok(None),
            Some('\\') => {
                let bad = "`\\` goes before one of ' \" t n r \\ u{..}";
                match chars.next().ok_or(bad)? {
                    char @ ('\'' | '"' | '\\') => char,
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    'u' => {
                        let code = chars.as_str().strip_prefix('{').and_then(|code| {
                            let (code, rest) = code.split_once('}')?;
                            chars = rest.chars();
                            Some(code)
                        });
                        let digits = |code: &&str| {
                            code.len() <= 6 && code.bytes().all(|byte| byte.is_ascii_hexdigit())
                        };
                        let code = code.filter(digits).ok_or(bad)?;
                        let code = u32::from_str_radix(code, 16).map_err(|_| bad)?;
                        char::from_u32(code).ok_or(bad)?
                    }
                    _ => return Err(bad),
                }
            }
            Some(char) => char,
        };
        self.at += rest.len() - chars.as_str().len();
        Ok(Some(char))
    }
}

/// Rust's own readers take more: `+1`, `.5`, `Infinity`.
pub(super) fn is_number(text: &str) -> bool {
    if matches!(text, "nan" | "inf" | "-inf") {
        return true;
    }
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let plain = |exponent: &str| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(plain)
}
