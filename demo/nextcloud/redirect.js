// The parameters of the authorization request wait in the Nextcloud session.
window.location.replace('/index.php/apps/oidc/authorize');
