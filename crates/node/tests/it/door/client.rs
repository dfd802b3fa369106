//! Our client: where it connects to, and what it says when it cannot.

use dunlin_base::Kind;
use dunlin_gateway::flight::{Client, ClientOptions, Credentials};

use super::lab::{Doors, all, count};

#[test]
fn it_takes_the_first_gateway_that_answers() {
    let doors = Doors::open();
    doors.run(async {
        let mut options = doors.options("ann");
        options.addresses.insert(0, "127.0.0.1:1".to_owned());
        let client = Client::connect(doors.env(), options).await.expect("a gateway answers");
        assert_eq!(client.address(), doors.address(0));
        assert_eq!(count(&all(&client, "select * from region").await.expect("rows")), 5);
    });
}

#[test]
fn it_names_what_it_cannot_reach() {
    let doors = Doors::open();
    doors.run(async {
        let options = ClientOptions::new(vec!["127.0.0.1:1".to_owned()], Credentials::None);
        let error = Client::connect(doors.env(), options).await.err().expect("nobody is there");
        assert_eq!(error.kind(), Kind::Retry);
        assert!(error.message().starts_with("cannot reach gateway 127.0.0.1:1"), "{error}");
        for bad in ["", "no port\n", "a b:1"] {
            let options = ClientOptions::new(vec![bad.to_owned()], Credentials::None);
            let error = Client::connect(doors.env(), options).await.err().expect(bad);
            assert_eq!(error.kind(), Kind::Invalid, "'{bad}': {error}");
        }
    });
}
