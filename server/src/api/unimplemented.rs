//! The rest of the API: known, and answered with a reason instead of a bare 404.

use axum::extract::Request;
use axum::http::StatusCode;

use super::unknown_path;
use crate::error::{ApiError, code};

/// What a request is answered whose path no route takes.
pub(super) async fn answer(request: Request) -> ApiError {
    known(&request).unwrap_or_else(|| unknown_path(request.uri().path()))
}

/// What a request is answered whose path some route takes, with another method.
pub(super) async fn wrong_method(request: Request) -> ApiError {
    known(&request).unwrap_or_else(|| {
        ApiError::new(
            StatusCode::METHOD_NOT_ALLOWED,
            code::METHOD_NOT_ALLOWED,
            format!("{} {} is no operation of the API", request.method(), request.uri().path()),
        )
    })
}

/// The answer for an operation that only Daytona's cloud has.
fn known(request: &Request) -> Option<ApiError> {
    let path = request.uri().path().strip_prefix("/api")?;
    let method = request.method().as_str();
    OPERATIONS
        .iter()
        .any(|(methods, template)| methods.split(' ').any(|name| name == method) && matches(template, path))
        .then(|| ApiError::not_implemented(reason(path)))
}

/// Why, and what to do instead.
fn reason(path: &str) -> String {
    let resource = path.split('/').nth(1).unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let why = match resource {
        "sandbox" => match last {
            "secrets" => "the values of secrets are not shown to anybody".to_owned(),
            _ => "use Daytona's cloud for it".to_owned(),
        },
        "snapshots" | "object-storage" | "docker-registry" => "use the default snapshot, or Daytona's cloud".to_owned(),
        _ => "a local server has one user, organization and region, and no runners, registries, audit log and webhooks"
            .to_owned(),
    };
    format!("{path} is not available on a local server: {why}")
}

fn matches(template: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    template.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "{}" || wanted == part))
        && parts.next().is_none()
}

/// Methods and path of each operation that has no route.
const OPERATIONS: &[(&str, &str)] = &[
    ("GET", "/admin/audit"),
    ("POST", "/admin/docker-registry/{}/set-default"),
    ("POST", "/admin/organizations"),
    ("POST", "/admin/organizations/{}/preview-warning"),
    ("POST PATCH", "/admin/organizations/{}/quota/{}"),
    ("GET DELETE", "/admin/organizations/{}/quota/{}/{}"),
    ("POST GET", "/admin/runners"),
    ("GET DELETE", "/admin/runners/{}"),
    ("PATCH", "/admin/runners/{}/scheduling"),
    ("POST", "/admin/sandbox/{}/recover"),
    ("GET", "/admin/snapshots/can-cleanup-image"),
    ("PATCH", "/admin/snapshots/{}/general"),
    ("POST GET", "/admin/users"),
    ("GET", "/admin/users/{}"),
    ("POST", "/admin/users/{}/regenerate-key-pair"),
    ("POST", "/admin/webhooks/organizations/{}/initialize"),
    ("GET", "/admin/webhooks/organizations/{}/messages/{}/attempts"),
    ("POST", "/admin/webhooks/organizations/{}/send"),
    ("GET", "/admin/webhooks/status"),
    ("GET", "/audit/organizations/{}"),
    ("GET", "/audit/scenarios"),
    ("POST GET", "/docker-registry"),
    ("GET", "/docker-registry/registry-push-access"),
    ("GET PATCH DELETE", "/docker-registry/{}"),
    ("GET", "/jobs"),
    ("GET", "/jobs/poll"),
    ("GET", "/jobs/{}"),
    ("POST", "/jobs/{}/status"),
    ("POST", "/organizations"),
    ("GET", "/organizations/invitations"),
    ("GET", "/organizations/invitations/count"),
    ("POST", "/organizations/invitations/{}/accept"),
    ("POST", "/organizations/invitations/{}/decline"),
    ("GET", "/organizations/otel-config/by-sandbox-auth-token/{}"),
    ("DELETE", "/organizations/{}"),
    ("GET", "/organizations/{}/available-sandbox-classes"),
    ("PUT", "/organizations/{}/experimental-config"),
    ("POST GET", "/organizations/{}/identity-providers"),
    ("POST", "/organizations/{}/identity-providers/test-connection"),
    ("GET PATCH DELETE", "/organizations/{}/identity-providers/{}"),
    ("POST GET", "/organizations/{}/invitations"),
    ("PUT", "/organizations/{}/invitations/{}"),
    ("POST", "/organizations/{}/invitations/{}/cancel"),
    ("POST", "/organizations/{}/leave"),
    ("GET PUT DELETE", "/organizations/{}/otel-config"),
    ("POST", "/organizations/{}/preview-warning"),
    ("PATCH", "/organizations/{}/quota"),
    ("PATCH", "/organizations/{}/quota/{}"),
    ("POST GET", "/organizations/{}/roles"),
    ("PUT DELETE", "/organizations/{}/roles/{}"),
    ("POST", "/organizations/{}/sandbox-default-limited-network-egress"),
    ("POST", "/organizations/{}/sso-enabled"),
    ("POST", "/organizations/{}/suspend"),
    ("POST", "/organizations/{}/unsuspend"),
    ("GET", "/organizations/{}/users"),
    ("DELETE", "/organizations/{}/users/{}"),
    ("POST", "/organizations/{}/users/{}/access"),
    ("POST", "/regions"),
    ("DELETE PATCH", "/regions/{}"),
    ("POST", "/regions/{}/regenerate-proxy-api-key"),
    ("POST", "/regions/{}/regenerate-snapshot-manager-credentials"),
    ("POST", "/regions/{}/regenerate-ssh-gateway-api-key"),
    ("POST GET", "/runners"),
    ("GET", "/runners/by-sandbox/{}"),
    ("GET", "/runners/by-snapshot-ref"),
    ("POST", "/runners/healthcheck"),
    ("GET", "/runners/me"),
    ("GET", "/runners/me/snapshots"),
    ("GET DELETE", "/runners/{}"),
    ("PATCH", "/runners/{}/draining"),
    ("GET", "/runners/{}/full"),
    ("PATCH", "/runners/{}/scheduling"),
    ("GET", "/sandbox/for-runner"),
    ("GET", "/sandbox/{}/organization"),
    ("GET", "/sandbox/{}/region-quota"),
    ("GET", "/sandbox/{}/secrets"),
    ("PUT", "/sandbox/{}/state"),
    ("GET", "/sandbox/{}/telemetry/logs"),
    ("GET", "/sandbox/{}/telemetry/traces"),
    ("GET", "/sandbox/{}/telemetry/traces/{}"),
    ("GET", "/users/account-providers"),
    ("POST", "/users/linked-accounts"),
    ("DELETE", "/users/linked-accounts/{}/{}"),
    ("GET", "/users/me"),
    ("GET", "/users/me/pending-sso-links"),
    ("DELETE", "/users/me/pending-sso-links/{}"),
    ("POST", "/users/me/pending-sso-links/{}/confirm"),
    ("POST", "/users/mfa/sms/enroll"),
    ("POST", "/webhooks/organizations/{}/app-portal-access"),
    ("GET", "/webhooks/organizations/{}/initialization-status"),
    ("POST", "/webhooks/organizations/{}/initialize"),
    ("POST", "/webhooks/organizations/{}/refresh-endpoints"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_whole_paths() {
        assert!(matches("/sandbox/{}/fork", "/sandbox/abc/fork"));
        assert!(!matches("/sandbox/{}/fork", "/sandbox/abc/fork/more"));
        assert!(!matches("/sandbox/{}/fork", "/sandbox/abc"));
    }
}
