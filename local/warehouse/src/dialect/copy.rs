//! COPY: read by hand, because its options come in any order and each has rules of its own.

use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::names::{self, TableName};
use super::plan::{Copy, CopyFormat, Plan, TimeFormat};
use super::{refusals, syntax, tokens};
use crate::error::SqlError;

const ERRORS_MAX: u64 = 100_000;

#[derive(Default)]
struct Options {
    authorized: bool,
    format: Option<Format>,
    manifest: bool,
    gzip: bool,
    region: bool,
    compupdate: bool,
    time: Option<TimeFormat>,
    n_errors_max: Option<u64>,
    truncate: bool,
    replace_invalid: Option<char>,
}

enum Format {
    Parquet,
    Json { ignore_case: bool },
}

pub(super) fn plan(mut parser: Parser<'_>) -> Result<Plan, SqlError> {
    tokens::expect(&mut parser, "copy")?;
    let name = parser.parse_object_name(false).map_err(syntax)?;
    let table = TableName::of(&name)?;
    let mut columns = Vec::new();
    if parser.consume_token(&Token::LParen) {
        loop {
            let ident = parser.parse_identifier().map_err(syntax)?;
            refusals::name(&ident)?;
            columns.push(names::checked(&ident)?);
            if !parser.consume_token(&Token::Comma) {
                break;
            }
        }
        if !parser.consume_token(&Token::RParen) {
            return Err(SqlError(format!("syntax error at or near \"{}\"", parser.peek_token().token)));
        }
    }
    tokens::expect(&mut parser, "from")?;
    let url = tokens::literal(&mut parser)?;
    if !url.starts_with("s3://") {
        return Err(SqlError::new("COPY FROM reads s3://bucket/key only"));
    }
    let mut options = Options::default();
    while parser.peek_token().token != Token::EOF {
        options.read(&mut parser)?;
    }
    if !options.authorized {
        return Err(SqlError::new("COPY needs an IAM_ROLE or CREDENTIALS"));
    }
    let manifest = options.manifest;
    Ok(Plan::Copy(Copy { table, columns, url, manifest, format: options.format()? }))
}

impl Options {
    fn read(&mut self, parser: &mut Parser<'_>) -> Result<(), SqlError> {
        let token = parser.next_token().token;
        let Some(word) = tokens::word(&token) else {
            return Err(SqlError(format!("syntax error at or near \"{token}\"")));
        };
        match word.as_str() {
            "iam_role" => {
                if !tokens::accept(parser, "default") {
                    tokens::literal(parser)?;
                }
                self.authorized = true;
            }
            "credentials" => {
                tokens::accept(parser, "as");
                tokens::literal(parser)?;
                self.authorized = true;
            }
            "format" => {
                tokens::accept(parser, "as");
            }
            "parquet" => self.format = Some(Format::Parquet),
            "json" => self.format = Some(json(parser)?),
            "manifest" => self.manifest = true,
            "gzip" => self.gzip = true,
            "timeformat" => self.time = Some(time_format(parser)?),
            "maxerror" => {
                tokens::accept(parser, "as");
                self.n_errors_max = Some(number(parser, ERRORS_MAX)?);
            }
            "truncatecolumns" => self.truncate = true,
            "acceptinvchars" => {
                tokens::accept(parser, "as");
                self.replace_invalid = Some(replacement(parser)?);
            }
            "statupdate" | "compupdate" => {
                self.compupdate |= word == "compupdate";
                let _ = ["on", "off", "true", "false", "preset"].iter().any(|word| tokens::accept(parser, word));
            }
            "region" => {
                tokens::accept(parser, "as");
                tokens::literal(parser)?;
                self.region = true;
            }
            other => return Err(SqlError::unsupported(&format!("the COPY option {}", other.to_uppercase()))),
        }
        Ok(())
    }

    fn format(self) -> Result<CopyFormat, SqlError> {
        match self.format {
            None => Err(SqlError::unsupported("COPY of anything but FORMAT PARQUET and FORMAT JSON")),
            Some(Format::Parquet) => {
                if self.region {
                    return Err(SqlError::new("REGION argument is not supported for PARQUET based COPY"));
                }
                if self.compupdate {
                    return Err(SqlError::new("COMPUPDATE argument is not supported for PARQUET based COPY"));
                }
                let text_only = self.gzip || self.time.is_some() || self.truncate || self.replace_invalid.is_some();
                if text_only || self.n_errors_max.is_some_and(|n| n > 0) {
                    return Err(SqlError::new(
                        "MAXERROR, GZIP, TIMEFORMAT, TRUNCATECOLUMNS and ACCEPTINVCHARS are not supported for PARQUET",
                    ));
                }
                Ok(CopyFormat::Parquet)
            }
            Some(Format::Json { ignore_case }) => Ok(CopyFormat::Json {
                ignore_case,
                gzip: self.gzip,
                time: self.time.unwrap_or(TimeFormat::Auto),
                n_errors_max: self.n_errors_max.unwrap_or(0),
                truncate: self.truncate,
                replace_invalid: self.replace_invalid,
            }),
        }
    }
}

fn json(parser: &mut Parser<'_>) -> Result<Format, SqlError> {
    tokens::accept(parser, "as");
    if !matches!(parser.peek_token().token, Token::SingleQuotedString(_)) {
        return Ok(Format::Json { ignore_case: false });
    }
    match tokens::literal(parser)?.to_lowercase().as_str() {
        "auto" => Ok(Format::Json { ignore_case: false }),
        "auto ignorecase" => Ok(Format::Json { ignore_case: true }),
        _ => Err(SqlError::unsupported("JSON with paths, 'noshred' or Avro")),
    }
}

fn time_format(parser: &mut Parser<'_>) -> Result<TimeFormat, SqlError> {
    tokens::accept(parser, "as");
    match tokens::literal(parser)?.to_lowercase().as_str() {
        "auto" => Ok(TimeFormat::Auto),
        "epochsecs" => Ok(TimeFormat::EpochSeconds),
        "epochmillisecs" => Ok(TimeFormat::EpochMillis),
        _ => Err(SqlError::unsupported("a TIMEFORMAT other than auto, epochsecs and epochmillisecs")),
    }
}

fn number(parser: &mut Parser<'_>, max: u64) -> Result<u64, SqlError> {
    match parser.next_token().token {
        Token::Number(digits, false) => match digits.parse() {
            Ok(n) if n <= max => Ok(n),
            _ => Err(SqlError(format!("{digits} is not a number up to {max}"))),
        },
        token => Err(SqlError(format!("syntax error at or near \"{token}\": expected a number"))),
    }
}

fn replacement(parser: &mut Parser<'_>) -> Result<char, SqlError> {
    if !matches!(parser.peek_token().token, Token::SingleQuotedString(_)) {
        return Ok('?');
    }
    let text = tokens::literal(parser)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) if only.is_ascii() && only != '\0' => Ok(only),
        _ => Err(SqlError::new("ACCEPTINVCHARS needs one ASCII character")),
    }
}
