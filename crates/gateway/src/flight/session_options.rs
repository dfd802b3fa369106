//! The session actions of Flight: the same as SET, without SQL.
//!
//! `arrow-flight` has no messages for them; these follow `Flight.proto`.

use std::collections::HashMap;

use bytes::Bytes;
use dunlin_base::{Error, Result};
use prost::Message;

use super::caller::Caller;
use super::fault::{Outcome, malformed};
use super::service::Door;

#[derive(Clone, PartialEq, Message)]
struct SetSessionOptionsRequest {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionOptionValue {
    #[prost(oneof = "OptionValue", tags = "1, 2, 3, 4, 5")]
    option_value: Option<OptionValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum OptionValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Bool(bool),
    #[prost(sfixed64, tag = "3")]
    Int(i64),
    #[prost(double, tag = "4")]
    Double(f64),
    #[prost(message, tag = "5")]
    Texts(StringListValue),
}

#[derive(Clone, PartialEq, Message)]
struct StringListValue {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct SetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    errors: HashMap<String, SessionOptionError>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionOptionError {
    /// 1: the name, 2: the value, 3: something else.
    #[prost(int32, tag = "1")]
    value: i32,
}

#[derive(Clone, PartialEq, Message)]
struct GetSessionOptionsResult {
    #[prost(map = "string, message", tag = "1")]
    session_options: HashMap<String, SessionOptionValue>,
}

#[derive(Clone, PartialEq, Message)]
struct CloseSessionResult {
    /// 1: closed.
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Most options that one call sets: each makes the session's state anew, where leases are kept.
const OPTIONS_MAX: usize = 100;

/// What the protocol calls options, and what they are here.
const KNOWN: [(&str, &str); 1] = [("schema", "datafusion.catalog.default_schema")];

impl Door {
    /// Changes options one by one; those that do not fit are named in the answer.
    pub(super) async fn set_options(&self, caller: &Caller, body: Bytes) -> Outcome<Bytes> {
        let request = SetSessionOptionsRequest::decode(body).map_err(|e| malformed("action", e))?;
        let given = request.session_options.len();
        if given > OPTIONS_MAX {
            return Err(Error::invalid(format!(
                "{given} options in one call, more than {OPTIONS_MAX}"
            ))
            .into());
        }
        let session = self.sessions.fresh(caller)?;
        let mut errors = HashMap::new();
        for (name, value) in request.session_options {
            let result = match name.as_str() {
                "catalog" => check_catalog(&value, session.planned().catalog_name()),
                _ => session.planned().apply([(option(&name), text(&value)?.as_str())]),
            };
            if let Err(error) = result {
                tracing::debug!(%name, %error, "a session option does not fit");
                errors.insert(name, SessionOptionError { value: 2 });
            }
        }
        let changes = session.planned().changes();
        if changes != caller.options {
            if !caller.keeps_cookies {
                return Err(Error::invalid("this client would lose what it sets: no cookies")
                    .with_hint("turn its cookies on")
                    .into());
            }
            caller.change(changes)?;
        }
        Ok(SetSessionOptionsResult { errors }.encode_to_vec().into())
    }

    /// What was changed.
    pub(super) fn get_options(&self, caller: &Caller) -> Outcome<Bytes> {
        let value = |text: &String| SessionOptionValue {
            option_value: Some(OptionValue::Text(text.clone())),
        };
        let session_options =
            caller.options.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        Ok(GetSessionOptionsResult { session_options }.encode_to_vec().into())
    }

    /// Nothing is changed any more.
    pub(super) fn close_session(&self, caller: &Caller) -> Outcome<Bytes> {
        caller.change(Vec::new())?;
        Ok(CloseSessionResult { status: 1 }.encode_to_vec().into())
    }
}

fn option(name: &str) -> &str {
    KNOWN.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours)
}

/// There is one catalog; drivers set it all the same.
fn check_catalog(value: &SessionOptionValue, catalog: &str) -> Result<()> {
    let wanted = text(value)?;
    if wanted == catalog || wanted.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("there is no catalog '{wanted}'")))
}

fn text(value: &SessionOptionValue) -> Result<String> {
    match &value.option_value {
        Some(OptionValue::Text(text)) => Ok(text.clone()),
        Some(OptionValue::Bool(value)) => Ok(value.to_string()),
        Some(OptionValue::Int(value)) => Ok(value.to_string()),
        Some(OptionValue::Double(value)) => Ok(value.to_string()),
        Some(OptionValue::Texts(_)) => Err(Error::invalid("no option takes a list")),
        None => Ok(String::new()),
    }
}
