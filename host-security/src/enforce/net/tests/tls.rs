//! Whom TLS trusts.

use super::*;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::TlsAcceptor;

/// A server of one answer with a certificate for `api.test`, and that certificate.
async fn server(answer: String) -> (SocketAddr, rcgen::Certificate) {
    let made = rcgen::generate_simple_self_signed(["api.test".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            head(&mut stream).await?;
            stream.write_all(answer.as_bytes()).await?;
            stream.shutdown().await?;
        }
        io::Result::Ok(())
    });
    (at, made.cert)
}

async fn get(at: SocketAddr, roots: Vec<Vec<u8>>, host: &str) -> Result<String, HttpRefused> {
    let both = [format!("connect:{host}:{}", at.port())];
    let allowed = [connect(at)];
    let settings = NetSettings { extra_roots: roots, ..NetSettings::default() };
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.1"]), ("other.test", &["127.0.0.1"])];
    let world =
        Setup { both: &both, allowed: &allowed, names, settings, ..Setup::default() }.make();
    world.get(&format!("https://{host}:{}/", at.port())).await
}

#[tokio::test]
async fn an_authority_is_trusted_if_the_operator_says_so() {
    let (at, certificate) = server(ok("sealed")).await;
    let (pem, der) = (certificate.pem().into_bytes(), certificate.der().to_vec());
    for root in [pem.clone(), der] {
        assert_eq!(get(at, vec![root], "api.test").await.unwrap(), "200 sealed");
    }
    let untrusted = get(at, Vec::new(), "api.test").await.unwrap_err().to_string();
    assert!(untrusted.contains("certificate"), "{untrusted}");
    // The right authority, for another name.
    let misnamed = get(at, vec![pem], "other.test").await.unwrap_err().to_string();
    assert!(misnamed.contains("certificate"), "{misnamed}");
}

#[tokio::test]
async fn a_redirect_does_not_leave_https() {
    let plain = Server::new("127.0.0.1", ok("plain")).await;
    let (at, certificate) = server(redirect(&plain.url())).await;
    let both = [format!("connect:api.test:{}", at.port()), connect(plain.at)];
    let allowed = [connect(at)];
    let extra_roots = vec![certificate.der().to_vec()];
    let settings = NetSettings { extra_roots, ..NetSettings::default() };
    let names: &[(&str, &[&str])] = &[("api.test", &["127.0.0.1"])];
    let world =
        Setup { both: &both, allowed: &allowed, names, settings, ..Setup::default() }.make();
    let refused = world.get(&format!("https://api.test:{}/", at.port())).await;
    let rule = "a redirect from https to http is not followed".to_owned();
    assert_eq!(refused, Err(HttpRefused::Denied { rule: rule.clone() }));
    assert_eq!(world.told(), [format!("http {}; {rule}; -", plain.at)]);
    assert_eq!(plain.connections(), 0);
    assert_eq!(world.get(&plain.url()).await.unwrap(), "200 plain");
}
