//! `serve`: from the configuration to a host that answers, and back to nothing.

use std::{io::ErrorKind, pin::pin, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context as _, anyhow};
use tokio::net::TcpListener;
use vmcp_config::{IncomingAuthType, Loaded};
use vmcp_host::{Host, HostBuilder, state_dir};
use vmcp_server::{
    admin::AdminSocket,
    guard::Guard,
    http::{self, HttpOptions},
    stream::{self, StreamOptions},
};

use crate::{cli::Serve, exit::Failure, lifecycle, report};

pub(crate) async fn run(arguments: Serve, mut loaded: Loaded) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    // The port comes first: nobody should wait for backends to hear that it is taken.
    let listener = match arguments.stdio {
        true => None,
        false => Some(listen(&arguments, &loaded).await?),
    };
    if arguments.optimizer_embedding {
        return Err(anyhow!(
            "`--optimizer-embedding` needs an embedding server in a container, which this build cannot start\n\
             hint: `--optimizer` searches by meaning without one; for a server of your own set `optimizer.embeddingService`"
        )
        .context(Failure::Config));
    }
    if arguments.optimizer {
        loaded.config.optimizer.get_or_insert_default();
    }
    let host = HostBuilder::new(loaded).build().await?;
    let message_limit = host.config().server.body_limit.as_usize();
    open_admin_socket(&host, message_limit);
    let serving = match listener {
        Some(listener) => {
            let address = listener.local_addr()?;
            let server = &host.config().server;
            let options = HttpOptions {
                gateway: host.gateway().clone(),
                guard: Guard::new(address.ip(), &server.allowed_hosts, &server.allowed_origins),
                body_limit: message_limit,
                group: host.config().group_ref.clone().unwrap_or_default(),
                tasks: host.fronts().clone(),
                shutdown: host.stopping().clone(),
            };
            host.fronts().spawn(async move {
                if let Err(error) = http::serve(listener, options).await {
                    tracing::error!(%error, "the HTTP front broke");
                }
            });
            Some(address)
        }
        None => {
            let (gateway, shutdown) = (host.gateway().clone(), host.stopping().clone());
            let grace = host.config().server.shutdown_grace.as_duration();
            let options = StreamOptions { message_limit, admin: false, grace };
            host.fronts().spawn(async move {
                let served =
                    stream::serve(gateway, tokio::io::stdin(), tokio::io::stdout(), options, shutdown.clone()).await;
                if let Err(error) = served {
                    tracing::error!(%error, "the stdio front broke");
                }
                // The client is gone, and with it the reason to be here.
                shutdown.cancel();
            });
            None
        }
    };
    host.start();
    let shutdown = host.stopping().clone();
    // One wait for both phases: a signal between them must not be lost.
    let mut stopped = pin!(lifecycle::until_stopped(&shutdown));
    tokio::select! {
        catalog = host.gateway().catalog() => match catalog {
            Ok(catalog) => report::ready(&report::Ready {
                title: host.config().name.as_str(),
                endpoint: serving.map(http::endpoint_url),
                config: &arguments.file.config,
                catalog: &catalog,
                backends: &host.gateway().status(),
                search: host.gateway().tool_search().map(|search| search.status()).as_ref(),
                took: began.elapsed(),
            }),
            Err(error) => {
                host.stop().await;
                return Err(anyhow::Error::new(SharedError(error)).context(Failure::Component));
            }
        },
        () = &mut stopped => {
            host.stop().await;
            return Ok(ExitCode::SUCCESS);
        }
    }
    stopped.await;
    host.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// An error that the gateway keeps too.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedError(Arc<vmcp_gateway::aggregator::AggregateError>);

async fn listen(arguments: &Serve, loaded: &Loaded) -> anyhow::Result<TcpListener> {
    let anonymous = loaded.config.incoming_auth.kind == IncomingAuthType::Anonymous;
    if anonymous && !arguments.host.is_loopback() && !arguments.allow_anonymous_remote {
        return Err(anyhow!(
            "{} can be reached by others, and the configuration lets everyone in (`incomingAuth.type: anonymous`)\n\
             hint: listen on 127.0.0.1, or say `--allow-anonymous-remote` if something else keeps strangers out",
            arguments.host
        )
        .context(Failure::Address));
    }
    TcpListener::bind((arguments.host, arguments.port)).await.map_err(|error| {
        let port = arguments.port;
        match error.kind() {
            ErrorKind::AddrInUse => anyhow!(
                "port {port} is already in use, try 'vmcp-host serve -c {} -p 0' to pick a free port",
                arguments.file.config.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot listen on {}:{port}", arguments.host)),
        }
        .context(Failure::Address)
    })
}

/// Opens the owner's socket, unless another host of the same state folder has it. The host serves without it too.
fn open_admin_socket(host: &Host, message_limit: usize) {
    let opened = state_dir(host.config()).and_then(|folder| {
        AdminSocket::open(&folder).with_context(|| format!("cannot open a socket in {}", folder.display()))
    });
    match opened {
        Ok(Some(socket)) => {
            let (gateway, fronts, stopping) = (host.gateway().clone(), host.fronts().clone(), host.stopping().clone());
            host.fronts().spawn(socket.serve(gateway, message_limit, fronts, stopping));
        }
        Ok(None) => tracing::info!("another host serves the admin socket of this state folder"),
        Err(error) => tracing::warn!("commands cannot reach this host: {error:#}"),
    }
}
