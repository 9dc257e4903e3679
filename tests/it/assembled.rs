//! Hosts assembled in this process, since only an embedding program can exchange a built-in component.

use std::net::Ipv4Addr;

use vmcp_host::{
    Host, HostBuilder as Assembly, config,
    server::{
        guard::Guard,
        http::{HttpOptions, serve},
    },
};
use vmcp_tests::{TestClient, host::WrittenHost, process::workspace_dir};

/// A host that serves over HTTP.
pub(crate) struct Assembled {
    host: Host,
    url: String,
}

/// What `written` describes, before its components are chosen.
pub(crate) fn assembly(written: &WrittenHost) -> Assembly {
    Assembly::new(config::load(&written.config).unwrap())
}

/// The component `tests/guests/NAME.wasm`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    std::fs::read(workspace_dir().join("tests/guests").join(name).with_extension("wasm")).unwrap()
}

impl Assembled {
    /// Starts what was assembled. The watcher of child processes is the program itself, so that its backends are HTTP ones.
    pub(crate) async fn start(assembly: Assembly) -> Self {
        let host = Box::pin(assembly.build()).await.unwrap();
        host.start();
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = HttpOptions {
            gateway: host.gateway().clone(),
            guard: Guard::new(address.ip(), &[], &[]),
            body_limit: 1 << 20,
            group: String::new(),
            tasks: host.fronts().clone(),
            shutdown: host.stopping().clone(),
        };
        host.fronts().spawn(serve(listener, options));
        host.gateway().catalog().await.unwrap();
        Self { host, url: format!("http://{address}/mcp") }
    }

    pub(crate) fn connect_modern(&self) -> TestClient {
        TestClient::modern(&self.url)
    }

    pub(crate) async fn stop(self) {
        self.host.stop().await;
    }
}
