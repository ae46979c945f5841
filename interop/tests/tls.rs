//! `rustls` with the provider `ring`: a TLS connection of two tasklets of one thread.

use hardswitch::net::SendStream;
use hardswitch::spawn;
use hardswitch_interop::{pair, pattern};
use rcgen::{generate_simple_self_signed, CertifiedKey};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::{
    version, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig,
    ServerConnection, StreamOwned, SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::sync::Arc;

/// The settings of both sides, with a certificate for `localhost` that the client trusts.
fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = Arc::new(default_provider());
    let client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (Arc::new(client), Arc::new(server))
}

type Client = StreamOwned<ClientConnection, SendStream>;
type Server = StreamOwned<ServerConnection, SendStream>;

fn both(config: (Arc<ClientConfig>, Arc<ServerConfig>), name: &'static str) -> (Client, Server) {
    let (ours, theirs) = pair().unwrap();
    let client = ClientConnection::new(config.0, name.try_into().unwrap()).unwrap();
    let server = ServerConnection::new(config.1).unwrap();
    (
        StreamOwned::new(client, ours),
        StreamOwned::new(server, theirs),
    )
}

fn echoes(version: &'static SupportedProtocolVersion, shown: ProtocolVersion) {
    let (mut client, mut server) = both(configs(version), "localhost");
    let serves = spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match server.read(&mut buffer).unwrap() {
                0 => break,
                n => server.write_all(&buffer[..n]).unwrap(),
            }
        }
        server.conn.send_close_notify();
        server.flush().unwrap();
    });
    let serves = serves.unwrap();
    for size in [1, 16 * 1024, 200_000] {
        client.write_all(&pattern(size)).unwrap();
        client.flush().unwrap();
        let mut echo = vec![0; size];
        client.read_exact(&mut echo).unwrap();
        assert!(echo == pattern(size), "of {size} bytes");
    }
    assert_eq!(client.conn.protocol_version(), Some(shown));
    client.conn.send_close_notify();
    client.flush().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it ends as TLS wants");
    hardswitch::run().unwrap();
    assert!(!serves.is_alive());
}

#[test]
fn tls_1_3_between_two_tasklets_of_one_thread_echoes() {
    echoes(&version::TLS13, ProtocolVersion::TLSv1_3);
}

#[test]
fn tls_1_2_between_two_tasklets_of_one_thread_echoes() {
    echoes(&version::TLS12, ProtocolVersion::TLSv1_2);
}

#[test]
fn a_certificate_of_another_name_is_refused_on_both_sides() {
    let (mut client, mut server) = both(configs(&version::TLS13), "elsewhere.test");
    let serves = spawn(move || {
        let refused = server.read(&mut [0; 16]).unwrap_err();
        assert!(refused.to_string().contains("alert"), "{refused}");
    });
    let serves = serves.unwrap();
    let refused = client.write_all(b"secret").unwrap_err();
    assert!(refused.to_string().contains("certificate"), "{refused}");
    hardswitch::MainLoop::current()
        .unwrap()
        .run_until_idle()
        .unwrap();
    assert!(!serves.is_alive());
}
