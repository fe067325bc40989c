#!/bin/sh
# Prints the Secrets that the server needs, with new random values:
#
#     k8s/create-secrets.sh | kubectl create -f -                       for overlays/quickstart
#     k8s/create-secrets.sh postgresql://USER:PASSWORD@HOST/DATABASE | kubectl create -f -
#
# Keep the key-encryption key apart from backups of the database: without it the CA's keys in them are lost, and
# with both anybody is the CA. Use `create`, not `apply`: values that are in use must not be replaced.
set -eu
namespace=${CARNET_NAMESPACE:-carnet}
password=$(openssl rand -hex 24)
url=${1:-postgresql://carnet:$password@carnet-postgres:5432/carnet}
cat <<END
apiVersion: v1
kind: Secret
metadata: {name: carnet-server, namespace: $namespace}
stringData:
  database-url: "$url"
  key-encryption-key: "$(openssl rand -base64 32)"
  admin-token: "carnet_admin_$(openssl rand -base64 32 | tr '+/' '-_' | tr -d '=')"
END
[ $# -gt 0 ] || cat <<END
---
apiVersion: v1
kind: Secret
metadata: {name: carnet-postgres, namespace: $namespace}
stringData:
  password: "$password"
END
