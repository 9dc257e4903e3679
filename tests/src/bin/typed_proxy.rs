//! A proxy as one would write it on the SDK's types: stdio in front, a child process behind, every message through
//! `rmcp`'s models. It exists to show what such a proxy loses; the host does not work this way.

use rmcp::{
    ErrorData, Peer, RoleClient, RoleServer, ServerHandler, ServiceExt,
    model::{
        CallToolRequest, CallToolRequestParams, CallToolResponse, ClientRequest, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, ServerResult,
    },
    service::{RequestContext, ServiceError},
    transport::{TokioChildProcess, stdio},
};

struct TypedProxy {
    backend: Peer<RoleClient>,
}

impl ServerHandler for TypedProxy {
    fn get_info(&self) -> ServerConfig {
        let mut info = ServerConfig::default();
        info.capabilities = ServerCapabilities::builder().enable_tools().build();
        info
    }

    async fn list_tools(
        &self,
        params: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.backend.list_tools(params).await.map_err(to_error)
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        match self.backend.send_request(request).await.map_err(to_error)? {
            ServerResult::CallToolResult(result) => Ok(CallToolResponse::Complete(result)),
            other => {
                Err(ErrorData::internal_error(format!("the result is no tool result to the SDK: {other:?}"), None))
            }
        }
    }
}

fn to_error(error: ServiceError) -> ErrorData {
    match error {
        ServiceError::McpError(error) => error,
        other => ErrorData::internal_error(other.to_string(), None),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut words = std::env::args().skip(1);
    let mut command = tokio::process::Command::new(words.next().unwrap_or_default());
    command.args(words);
    let backend = ().serve(TokioChildProcess::new(command)?).await?;
    let proxy = TypedProxy { backend: backend.peer().clone() };
    proxy.serve(stdio()).await?.waiting().await?;
    Ok(())
}
