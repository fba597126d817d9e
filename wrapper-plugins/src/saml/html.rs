//! The reading of pages: their forms, the fields of those, the assertion.

use html5gum::{DefaultEmitter, StartTag, Token, Tokenizer};
use secrecy::SecretString;

/// A field of a form.
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) value: String,
}

/// A form. Has no `Debug`: its values may be secret.
#[derive(Default)]
pub(crate) struct Form {
    /// As it is written: a reference to resolve against the page's own address. `None`: the page itself.
    pub(crate) action: Option<String>,
    pub(crate) fields: Vec<Field>,
}

impl Form {
    /// The forms of a page, in order; fields outside of a form stand in one of their own, the first.
    pub(crate) fn all(page: &str) -> Vec<Self> {
        let mut emitter = DefaultEmitter::default();
        // What looks like a form in a script is none.
        emitter.naively_switch_states(true);
        let mut forms = vec![Self::default()];
        let mut inside = 0;
        for token in Tokenizer::new_with_emitter(page, emitter) {
            match token {
                Ok(Token::StartTag(tag)) if tag.name == b"form" => {
                    forms.push(Self { action: attribute(&tag, "action"), fields: Vec::new() });
                    inside = forms.len() - 1;
                }
                Ok(Token::EndTag(tag)) if tag.name == b"form" => inside = 0,
                Ok(Token::StartTag(tag)) if tag.name == b"input" => {
                    let Some(name) = attribute(&tag, "name").filter(|name| !name.is_empty()) else {
                        continue;
                    };
                    let kind = attribute(&tag, "type").unwrap_or_default().to_ascii_lowercase();
                    let value = attribute(&tag, "value").unwrap_or_default();
                    forms[inside].fields.push(Field { name, kind, value });
                }
                _ => {}
            }
        }
        forms
    }

    /// Whether it asks for a password.
    pub(crate) fn asks_for_password(&self) -> bool {
        self.fields
            .iter()
            .any(|field| field.kind == "password" || field.name.to_lowercase().contains("password"))
    }
}

fn attribute(tag: &StartTag<()>, name: &str) -> Option<String> {
    let value = tag.attributes.get(name.as_bytes())?;
    Some(String::from_utf8_lossy(value).into_owned())
}

/// The assertion that a page hands on to AWS; `None` when it has none.
pub(crate) fn assertion(page: &str) -> Option<SecretString> {
    let mut fields = Form::all(page).into_iter().flat_map(|form| form.fields);
    let field = fields.find(|field| field.name == "SAMLResponse" && !field.value.trim().is_empty())?;
    // Base 64, which may be broken into lines.
    Some(SecretString::from(field.value.split_whitespace().collect::<String>()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn forms_are_read_however_they_are_written() {
        let page = r#"<!doctype html><html><script>var x = '<form action="/script"><input name="no">';</script>
            <!-- <form action="/remark"> --> <input name=loose value=1>
            <FORM method='post'
                  ACTION = '/adfs/ls?a=1&amp;b=2'>
              <p><INPUT value="a &quot;b&quot; &#x41; &eacute;" type=TEXT name="ctl00$UserName"/>
              <input type="password"
                     name='Password'><input value="nameless"><input name="Kmsi" type="checkbox" value="true" checked>
            </FORM><form><input name="AuthMethod" value=""></form>"#;
        let forms = Form::all(page);
        assert_eq!(forms.len(), 3);
        assert_eq!(forms[0].fields.len(), 1);
        assert_eq!(forms[1].action.as_deref(), Some("/adfs/ls?a=1&b=2"));
        let fields: Vec<_> = forms[1]
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.kind.as_str(), field.value.as_str()))
            .collect();
        assert_eq!(
            fields,
            [
                ("ctl00$UserName", "text", "a \"b\" A é"),
                ("Password", "password", ""),
                ("Kmsi", "checkbox", "true")
            ]
        );
        assert!(forms[1].asks_for_password() && !forms[2].asks_for_password());
        assert_eq!(forms[2].action, None);
    }

    #[test]
    fn the_assertion_is_found_however_it_is_written() {
        for page in [
            r#"<form><input type="hidden" name="SAMLResponse" value="PHNhbWw+&#x2b;Lw==" /></form>"#,
            "<input value='PHNhbWw+\n  &#43;Lw==' name='SAMLResponse'>",
            "<form><input name=SAMLResponse value=''></form><input name=SAMLResponse value=PHNhbWw&#x2B;+Lw&equals;=>",
        ] {
            assert_eq!(assertion(page).unwrap().expose_secret(), "PHNhbWw++Lw==", "{page}");
        }
        for page in
            ["", "SAMLResponse", "<p name=SAMLResponse value=x>", "<input name=SAMLResponse value=' '>"]
        {
            assert!(assertion(page).is_none(), "{page}");
        }
    }
}
