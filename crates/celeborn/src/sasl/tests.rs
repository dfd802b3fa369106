//! The examples of the RFC, and what clients may and may not say.

use dunlin_base::Kind;

use super::key::{Side, Terms};
use super::*;

const APP: &str = "application_17-0001";
const SECRET: &str = "c2VjcmV0IG9mIDMyIGJ5dGVz";

pub(crate) fn challenge() -> Challenge {
    Challenge::new([7; 16])
}

/// What the client of an application says to [`challenge`].
pub(crate) fn right() -> Vec<u8> {
    let [token, _] = answer(&challenge().to_bytes(), (APP, SECRET), "abc").expect("a challenge");
    token.to_vec()
}

fn text(token: &[u8]) -> &str {
    std::str::from_utf8(token).expect("text")
}

#[test]
fn the_examples_of_the_rfc_are_computed() {
    let key = Key::of("chris", "elwood.innosoft.com", "secret");
    for (nonce, cnonce, uri, client, server) in [
        (
            "OA6MG9tEQGm2hh",
            "OA6MHXh6VqTrRk",
            "imap/elwood.innosoft.com",
            "d388dad90d4bbd760a152321f2143af7",
            "ea40f60335c427b5527b84dbabcdfffd",
        ),
        (
            "OA9BSXrbuRhWay",
            "OA9BSuZWMSpW8m",
            "acap/elwood.innosoft.com",
            "6084c6db3fede7352c551284490fd0fc",
            "2f0b3d7c3c2e486600ef710726aa2eae",
        ),
    ] {
        let [nonce, cnonce, uri] = [nonce, cnonce, uri].map(|text| text.as_bytes().to_vec());
        let terms = Terms { nonce, cnonce, uri, authzid: None };
        assert_eq!(text(&terms.proof(&key, Side::Client)), client);
        assert_eq!(text(&terms.proof(&key, Side::Server)), server);
    }
}

#[test]
fn who_knows_the_secret_is_known_and_so_is_the_server() {
    let asked = challenge();
    let [token, end] = answer(&asked.to_bytes(), (APP, SECRET), "abc").expect("a challenge");
    let claim = asked.answered(&token).expect("an answer");
    assert_eq!(claim.application(), APP);
    assert_eq!(claim.check(&Key::new(APP, SECRET)), Some(end));
    assert_eq!(claim.check(&Key::new(APP, "another")), None);
    assert_eq!(claim.check(&Key::new("another", SECRET)), None);
}

#[test]
fn an_answer_to_another_challenge_counts_for_nothing() {
    let error = Challenge::new([8; 16]).answered(&right()).expect_err("a replay");
    assert!(error.message().contains("another challenge"), "{error}");
}

#[test]
fn each_part_of_an_answer_is_looked_at() {
    let right = right();
    let right = text(&right);
    for (part, other, why) in [
        ("charset=utf-8", "charset=latin1", "its 'charset'"),
        ("realm=\"default\"", "realm=\"other\"", "its 'realm'"),
        ("realm=\"default\",", "", "does not say 'realm'"),
        ("nc=00000001", "nc=00000002", "its 'nc'"),
        ("cnonce=\"abc\"", "cnonce=\"\"", "its 'cnonce' is empty"),
        ("qop=auth", "qop=auth-int", "its 'qop'"),
        ("qop=auth", "qop=auth,nc=00000001", "says 'nc' twice"),
        ("null/default", "imap/default", "its 'digest-uri'"),
        ("username=\"", "username=\"*", "its 'username'"),
        ("response=", "response=0", "its 'response'"),
        ("qop=auth", "authzid=\"x\"", "who proves it"),
        (",qop=auth", ",qop=\"auth", "a quote in it does not end"),
        (",qop=auth", " qop=auth", "no comma"),
        (",qop=auth", ",=auth", "no name"),
        (",qop=auth", ",qop", "no value"),
        (",qop=auth", ",qop=", "no value"),
    ] {
        assert!(right.contains(part), "{part}");
        let error = challenge().answered(right.replace(part, other).as_bytes()).expect_err(other);
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.message().contains(why), "{other}: {error}");
    }
    for long in [format!("{right},x={}", "x".repeat(5000)), format!("{right}{}", ",a=b".repeat(40))]
    {
        assert!(challenge().answered(long.as_bytes()).is_err());
    }
}

#[test]
fn what_a_client_may_write_otherwise_is_understood() {
    let right = right();
    let right = text(&right);
    let key = Key::new(APP, SECRET);
    for other in [
        right.replace(",qop=auth", ""),
        right.replace(',', " ,\t,\r\n "),
        right.replace("charset=utf-8", "Charset = \"utf-8\",unknown=\"a\\\"b\""),
        right.replace("nc=00000001", "nc=\"00000001\""),
    ] {
        let claim = challenge().answered(other.as_bytes()).expect(&other);
        assert!(claim.check(&key).is_some(), "{other}");
    }
    // Proved for itself: the digest is another one then.
    let claim = challenge().answered(format!("{right},authzid=\"{}\"", user()).as_bytes());
    assert_eq!(claim.expect("an answer").check(&key), None);
}

fn user() -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(APP)
}

#[test]
fn a_key_reads_back_and_says_nothing_of_itself() {
    let key = Key::new(APP, SECRET);
    assert_eq!(Key::from_bytes(&key.to_bytes()).expect("its own"), key);
    assert!(Key::from_bytes(&[0; 15]).is_err());
    assert_eq!(format!("{key:?}"), "Key(..)");
}
