//! Names of the public operations, for errors and diagnostics.

/// One public operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// `class.method`, the same in every language: `process.exec`.
    pub name: &'static str,
    /// What to say when it fails, as the official Python client does.
    pub failure: &'static str,
}

macro_rules! operations {
    ($($id:ident = $name:literal, $failure:literal;)*) => {
        impl Operation {
            $(pub(crate) const $id: Operation = Operation { name: $name, failure: $failure };)*
        }
    };
}

operations! {
    CONFIGURE = "daytona.configure", "Failed to configure the client";
    CREATE = "daytona.create", "Failed to create sandbox";
    GET = "daytona.get", "Failed to get sandbox";
    LIST = "daytona.list", "Failed to list sandboxes";
    EVENTS = "daytona.events", "Failed to follow the sandboxes' events";
    LOCAL = "daytona.local", "Failed to start the local server";
    REFRESH = "sandbox.refresh_data", "Failed to refresh sandbox data";
    START = "sandbox.start", "Failed to start sandbox";
    STOP = "sandbox.stop", "Failed to stop sandbox";
    DELETE = "sandbox.delete", "Failed to remove sandbox";
    PAUSE = "sandbox.pause", "Failed to pause sandbox";
    ARCHIVE = "sandbox.archive", "Failed to archive sandbox";
    RECOVER = "sandbox.recover", "Failed to recover sandbox";
    RESIZE = "sandbox.resize", "Failed to resize sandbox";
    WAIT_RESIZE = "sandbox.wait_for_resize_complete", "Failure during waiting for resize to complete";
    FORK = "sandbox.fork", "Failed to fork sandbox";
    CREATE_SANDBOX_SNAPSHOT = "sandbox.create_snapshot", "Failed to create snapshot";
    LIST_SNAPSHOTS = "snapshot.list", "Failed to list snapshots";
    GET_SNAPSHOT = "snapshot.get", "Failed to get snapshot";
    DELETE_SNAPSHOT = "snapshot.delete", "Failed to delete snapshot";
    CREATE_SNAPSHOT = "snapshot.create", "Failed to create snapshot";
    BUILD_LOGS = "snapshot.build_logs", "Failed to follow the build log";
    UPLOAD_CONTEXT = "image.upload", "Failed to upload the build context";
    DEACTIVATE_SNAPSHOT = "snapshot.deactivate", "Failed to deactivate snapshot";
    ACTIVATE_SNAPSHOT = "snapshot.activate", "Failed to activate snapshot";
    WATCH = "sandbox.watch", "Failed to look after the sandbox";
    WAIT_START = "sandbox.wait_for_sandbox_start", "Failure during waiting for sandbox to start";
    WAIT_STOP = "sandbox.wait_for_sandbox_stop", "Failure during waiting for sandbox to stop";
    SET_LABELS = "sandbox.set_labels", "Failed to set labels";
    SET_PUBLIC = "sandbox.set_public", "Failed to set public flag";
    AUTO_STOP = "sandbox.set_autostop_interval", "Failed to set auto-stop interval";
    AUTO_PAUSE = "sandbox.set_auto_pause_interval", "Failed to set auto-pause interval";
    AUTO_ARCHIVE = "sandbox.set_auto_archive_interval", "Failed to set auto-archive interval";
    AUTO_DELETE = "sandbox.set_auto_delete_interval", "Failed to set auto-delete interval";
    SET_TTL = "sandbox.set_ttl", "Failed to set TTL";
    UPDATE_NETWORK_SETTINGS = "sandbox.update_network_settings", "Failed to update network settings";
    ACTIVITY = "sandbox.refresh_activity", "Failed to refresh sandbox activity";
    USER_HOME_DIR = "sandbox.get_user_home_dir", "Failed to get user home directory";
    WORK_DIR = "sandbox.get_work_dir", "Failed to get working directory path";
    DOWNLOAD_URL = "sandbox.download_url", "Failed to create download URL";
    UPLOAD_URL = "sandbox.upload_url", "Failed to create upload URL";
    ROTATE_SIGNING_KEY = "sandbox.rotate_signing_key", "Failed to rotate signing key";
    PORT_IN_USE = "sandbox.is_port_in_use", "Failed to look for a listening port";
    PREVIEW_LINK = "sandbox.get_preview_link", "Failed to get preview link";
    SIGNED_PREVIEW_URL = "sandbox.create_signed_preview_url", "Failed to create signed preview url";
    EXPIRE_PREVIEW_URL = "sandbox.expire_signed_preview_url", "Failed to expire signed preview url";
    CREATE_SSH_ACCESS = "sandbox.create_ssh_access", "Failed to create SSH access";
    REVOKE_SSH_ACCESS = "sandbox.revoke_ssh_access", "Failed to revoke SSH access";
    VALIDATE_SSH_ACCESS = "sandbox.validate_ssh_access", "Failed to validate SSH access";
    UPDATE_ENV = "sandbox.update_env", "Failed to update environment";
    UPDATE_SECRETS = "sandbox.update_secrets", "Failed to update secrets";
    METRICS_LATEST = "sandbox.get_metrics_latest", "Failed to get latest sandbox metrics";
    METRICS = "sandbox.get_metrics", "Failed to get sandbox metrics";
    LIST_VOLUMES = "volume.list", "Failed to list volumes";
    GET_VOLUME = "volume.get", "Failed to get volume";
    CREATE_VOLUME = "volume.create", "Failed to create volume";
    DELETE_VOLUME = "volume.delete", "Failed to delete volume";
    LIST_SECRETS = "secret.list", "Failed to list secrets";
    GET_SECRET = "secret.get", "Failed to get secret";
    CREATE_SECRET = "secret.create", "Failed to create secret";
    UPDATE_SECRET = "secret.update", "Failed to update secret";
    DELETE_SECRET = "secret.delete", "Failed to delete secret";
    LIST_WARM_POOLS = "warm_pool.list", "Failed to list warm pools";
    CREATE_WARM_POOL = "warm_pool.create", "Failed to create warm pool";
    UPDATE_WARM_POOL = "warm_pool.update", "Failed to update warm pool";
    DELETE_WARM_POOL = "warm_pool.delete", "Failed to delete warm pool";
    API_REQUEST = "api.request", "The request to the API failed";
    LIST_API_KEYS = "api.list_api_keys", "Failed to list API keys";
    CURRENT_API_KEY = "api.current_api_key", "Failed to get the current API key";
    GET_API_KEY = "api.get_api_key", "Failed to get API key";
    CREATE_API_KEY = "api.create_api_key", "Failed to create API key";
    DELETE_API_KEY = "api.delete_api_key", "Failed to delete API key";
    LIST_ORGANIZATIONS = "api.list_organizations", "Failed to list organizations";
    GET_ORGANIZATION = "api.get_organization", "Failed to get organization";
    ORGANIZATION_USAGE = "api.organization_usage", "Failed to get the organization's usage";
    SET_DEFAULT_REGION = "api.set_default_region", "Failed to set the default region";
    LIST_REGIONS = "api.list_regions", "Failed to list regions";
    GET_REGION = "api.get_region", "Failed to get region";
    LIST_REGISTRIES = "api.list_registries", "Failed to list registries";
    GET_REGISTRY = "api.get_registry", "Failed to get registry";
    CREATE_REGISTRY = "api.create_registry", "Failed to create registry";
    UPDATE_REGISTRY = "api.update_registry", "Failed to update registry";
    DELETE_REGISTRY = "api.delete_registry", "Failed to delete registry";
    AUDIT_LOGS = "api.audit_logs", "Failed to list audit logs";
    WEBHOOK_STATUS = "api.webhook_status", "Failed to get the status of webhooks";
    INITIALIZE_WEBHOOKS = "api.initialize_webhooks", "Failed to set up webhooks";
    WEBHOOK_PORTAL = "api.webhook_portal", "Failed to get the page of webhooks";
    REFRESH_WEBHOOKS = "api.refresh_webhooks", "Failed to refresh webhooks";
    EXEC = "process.exec", "Failed to execute command";
    CODE_RUN = "process.code_run", "Failed to run code";
    EXEC_STREAM = "process.exec_stream", "Failed to execute command";
    TERMINAL = "terminal_backend.exec", "Failed to execute command";
    TERMINAL_CLOSE = "terminal_backend.close", "Failed to close the terminal backend";
    TERMINAL_CONFIGURE = "terminal_backend.configure", "Failed to configure the terminal backend";
    PROVIDER_CONFIGURE = "sandbox_provider.configure", "Failed to configure the sandbox provider";
    PROVISION = "sandbox_provider.provision", "Failed to provision sandbox";
    PROVIDER_STATUS = "sandbox_provider.status", "Failed to get the status of the sandbox";
    TERMINATE = "sandbox_provider.terminate", "Failed to terminate sandbox";
    PROVIDER_PAUSE = "sandbox_provider.pause", "Failed to pause sandbox";
    PROVIDER_RESUME = "sandbox_provider.resume", "Failed to resume sandbox";
    PROVIDER_LOGS = "sandbox_provider.stream_logs", "Failed to follow the logs of the sandbox";
    CAPACITY = "sandbox_provider.capacity", "Failed to ask for the capacity";
    CAPABILITIES = "sandbox_provider.capabilities", "Failed to ask for the capabilities";
    CREATE_SESSION = "process.create_session", "Failed to create session";
    GET_SESSION = "process.get_session", "Failed to get session";
    GET_ENTRYPOINT_SESSION = "process.get_entrypoint_session", "Failed to get sandbox entrypoint session";
    LIST_SESSIONS = "process.list_sessions", "Failed to list sessions";
    DELETE_SESSION = "process.delete_session", "Failed to delete session";
    EXECUTE_SESSION_COMMAND = "process.execute_session_command", "Failed to execute session command";
    GET_SESSION_COMMAND = "process.get_session_command", "Failed to get session command";
    GET_SESSION_COMMAND_LOGS = "process.get_session_command_logs", "Failed to get session command logs";
    GET_ENTRYPOINT_LOGS = "process.get_entrypoint_logs", "Failed to get entrypoint logs";
    SEND_SESSION_COMMAND_INPUT = "process.send_session_command_input", "Failed to send session command input";
    CREATE_PTY_SESSION = "process.create_pty_session", "Failed to create PTY session";
    CONNECT_PTY_SESSION = "process.connect_pty_session", "Failed to connect PTY session";
    LIST_PTY_SESSIONS = "process.list_pty_sessions", "Failed to list PTY sessions";
    GET_PTY_SESSION_INFO = "process.get_pty_session_info", "Failed to get PTY session info";
    KILL_PTY_SESSION = "process.kill_pty_session", "Failed to kill PTY session";
    RESIZE_PTY_SESSION = "process.resize_pty_session", "Failed to resize PTY session";
    PTY = "pty_handle", "The PTY session failed";
    RUN_CODE = "code_interpreter.run_code", "Failed to run code";
    CREATE_CONTEXT = "code_interpreter.create_context", "Failed to create interpreter context";
    LIST_CONTEXTS = "code_interpreter.list_contexts", "Failed to list interpreter contexts";
    DELETE_CONTEXT = "code_interpreter.delete_context", "Failed to delete interpreter context";
    CREATE_FOLDER = "fs.create_folder", "Failed to create folder";
    DELETE_FILE = "fs.delete_file", "Failed to delete file";
    DOWNLOAD_FILE = "fs.download_file", "Failed to download file";
    DOWNLOAD_FILES = "fs.download_files", "Failed to download files";
    FIND_FILES = "fs.find_files", "Failed to find files";
    FILE_INFO = "fs.get_file_info", "Failed to get file info";
    LIST_FILES = "fs.list_files", "Failed to list files";
    MOVE_FILES = "fs.move_files", "Failed to move files";
    REPLACE_IN_FILES = "fs.replace_in_files", "Failed to replace in files";
    SEARCH_FILES = "fs.search_files", "Failed to search files";
    SET_PERMISSIONS = "fs.set_file_permissions", "Failed to set file permissions";
    UPLOAD_FILE = "fs.upload_file", "Failed to upload file";
    UPLOAD_FILES = "fs.upload_files", "Failed to upload files";
    GIT_ADD = "git.add", "Failed to add files";
    GIT_BRANCHES = "git.branches", "Failed to list branches";
    GIT_CLONE = "git.clone", "Failed to clone repository";
    GIT_COMMIT = "git.commit", "Failed to commit changes";
    GIT_PUSH = "git.push", "Failed to push changes";
    GIT_PULL = "git.pull", "Failed to pull changes";
    GIT_STATUS = "git.status", "Failed to get status";
    GIT_CHECKOUT = "git.checkout_branch", "Failed to checkout branch";
    GIT_CREATE_BRANCH = "git.create_branch", "Failed to create branch";
    GIT_DELETE_BRANCH = "git.delete_branch", "Failed to delete branch";
    GIT_INIT = "git.init", "Failed to initialize repository";
    GIT_RESET = "git.reset", "Failed to reset";
    GIT_RESTORE = "git.restore", "Failed to restore files";
    GIT_REMOTE_ADD = "git.remote_add", "Failed to add remote";
    GIT_REMOTES = "git.remotes", "Failed to list remotes";
    GIT_REMOTE_GET = "git.remote_get", "Failed to get remote";
    GIT_SET_CONFIG = "git.set_config", "Failed to set config";
    GIT_GET_CONFIG = "git.get_config", "Failed to get config";
    GIT_CONFIGURE_USER = "git.configure_user", "Failed to configure user";
    GIT_AUTHENTICATE = "git.dangerously_authenticate", "Failed to authenticate";
    CREATE_LSP_SERVER = "sandbox.create_lsp_server", "Failed to create LSP server";
    LSP_START = "lsp_server.start", "Failed to start LSP server";
    LSP_STOP = "lsp_server.stop", "Failed to stop LSP server";
    LSP_DID_OPEN = "lsp_server.did_open", "Failed to open file";
    LSP_DID_CLOSE = "lsp_server.did_close", "Failed to close file";
    LSP_DOCUMENT_SYMBOLS = "lsp_server.document_symbols", "Failed to get symbols from document";
    LSP_SANDBOX_SYMBOLS = "lsp_server.sandbox_symbols", "Failed to get symbols from sandbox";
    LSP_COMPLETIONS = "lsp_server.completions", "Failed to get completions";
}
