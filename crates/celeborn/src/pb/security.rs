//! Proof of who a client is, before anything else on a connection.

use std::fmt::{self, Debug, Formatter};

use bytes::Bytes;
use prost::Message;

use super::AuthType;

/// How an application can prove it.
#[derive(Clone, PartialEq, Message)]
pub struct SaslMechanism {
    #[prost(string, tag = "1")]
    pub mechanism: String,
    #[prost(enumeration = "AuthType", repeated, tag = "2")]
    pub auth_types: Vec<i32>,
}

/// How a client can prove it.
#[derive(Clone, PartialEq, Message)]
pub struct AuthenticationInitiationRequest {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(bool, tag = "2")]
    pub auth_enabled: bool,
    #[prost(message, repeated, tag = "3")]
    pub sasl_mechanisms: Vec<SaslMechanism>,
}

/// How a server wants it proved.
#[derive(Clone, PartialEq, Message)]
pub struct AuthenticationInitiationResponse {
    #[prost(string, tag = "1")]
    pub version: String,
    #[prost(bool, tag = "2")]
    pub auth_enabled: bool,
    #[prost(message, repeated, tag = "3")]
    pub sasl_mechanisms: Vec<SaslMechanism>,
}

/// A step of the proof. Answered with the bytes of the next step, bare.
#[derive(Clone, PartialEq, Message)]
pub struct SaslRequest {
    #[prost(string, tag = "1")]
    pub method: String,
    #[prost(enumeration = "AuthType", tag = "2")]
    pub auth_type: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

/// The secret of a new application. `Debug` does not show it.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct RegisterApplicationRequest {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub secret: String,
}

impl Debug for RegisterApplicationRequest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "RegisterApplicationRequest({})", self.id)
    }
}

/// The answer to that.
#[derive(Clone, PartialEq, Message)]
pub struct RegisterApplicationResponse {
    #[prost(bool, tag = "1")]
    pub status: bool,
}
