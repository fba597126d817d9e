//! Spellings of PostgreSQL that the parser does not know everywhere, rewritten before it sees them.
//!
//! What may not live here: anything that changes what a statement means.

use sqlparser::tokenizer::Token;

/// Writes `a OPERATOR(pg_catalog.=) b` as `a = b`: there are no operators but those of `pg_catalog`.
pub(crate) fn plain_operators(tokens: Vec<Token>) -> Vec<Token> {
    let mut plain = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        if !is_word(&token, "operator") {
            plain.push(token);
            continue;
        }
        let mut call = Vec::new();
        while let Some(next) = rest.next_if(|_| call.last() != Some(&Token::RParen)) {
            call.push(next);
        }
        let said: Vec<&Token> = call.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
        match said.as_slice() {
            [Token::LParen, schema, Token::Period, operator, Token::RParen]
                if is_word(schema, "pg_catalog") =>
            {
                plain.push((*operator).clone());
            }
            [Token::LParen, operator, Token::RParen] => plain.push((*operator).clone()),
            // Something else that is called so: left as it stands.
            _ => {
                plain.push(token);
                plain.append(&mut call);
            }
        }
    }
    plain
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::plain_operators;

    fn rewritten(sql: &str) -> String {
        let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap();
        plain_operators(tokens).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn qualified_operators_are_written_plainly() {
        assert_eq!(rewritten("a OPERATOR(pg_catalog.=) ANY ($1)"), "a = ANY ($1)");
        assert_eq!(rewritten("a operator( pg_catalog . >= ) (b OPERATOR(-) c)"), "a >= (b - c)");
        assert_eq!(rewritten("SELECT operator FROM t WHERE (x)"), "SELECT operator FROM t WHERE (x)");
        assert_eq!(rewritten("SELECT 'OPERATOR(pg_catalog.=)'"), "SELECT 'OPERATOR(pg_catalog.=)'");
    }
}
