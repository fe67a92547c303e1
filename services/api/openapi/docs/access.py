"""Texts on who may do what, and on how that is asked."""

TEXT = """
core.v1.ServiceAccount: An identity for programs that talk to the API.
  secrets: Secrets that its Pods may use.
  imagePullSecrets: Secrets with credentials for registries, given to its Pods.
  automountServiceAccountToken: Whether its Pods get a token; true by default.
rbac.v1.Role: What may be done in a namespace.
  rules: Each allows something.
rbac.v1.ClusterRole: What may be done in the cluster, or in any namespace that binds it.
  rules: Each allows something.
  aggregationRule: Take the rules from other ClusterRoles.
rbac.v1.PolicyRule: Allows something.
  verbs: What may be done: get, list, watch, create, update, patch, delete, deletecollection, or * for everything.
  apiGroups: In which groups; "" is the core group, * every group.
  resources: With which resources, such as pods or pods/log; * is every resource.
  resourceNames: With which objects; with all by default.
  nonResourceURLs: At which paths that are no objects, such as /metrics. ClusterRoles only.
rbac.v1.AggregationRule: Where a ClusterRole gets its rules from.
  clusterRoleSelectors: The ClusterRoles, by their labels.
rbac.v1.RoleBinding: Gives a Role, or a ClusterRole for one namespace, to somebody.
  subjects: To whom.
  roleRef: Which role. Cannot be changed.
rbac.v1.ClusterRoleBinding: Gives a ClusterRole to somebody, everywhere.
  subjects: To whom.
  roleRef: Which role. Cannot be changed.
rbac.v1.Subject: Somebody.
  kind: User, Group or ServiceAccount.
  apiGroup: rbac.authorization.k8s.io for users and groups, empty for service accounts.
  name: The name.
  namespace: The namespace of a service account.
rbac.v1.RoleRef: A role.
  apiGroup: rbac.authorization.k8s.io.
  kind: Role or ClusterRole.
  name: The name.
authentication.v1.TokenReview: Asks who a token belongs to.
authentication.v1.TokenReviewSpec: The token.
  token: The token.
  audiences: Who wants to accept it; the API server by default.
authentication.v1.TokenReviewStatus: The answer.
  authenticated: Whether the token is valid.
  user: To whom it belongs.
  audiences: Who may accept it.
  error: Why it could not be checked.
authentication.v1.UserInfo: Somebody.
  username: The name.
  uid: Tells users of the same name apart.
  groups: The groups.
  extra: What else is known.
authentication.v1.TokenRequest: Asks for a token of a ServiceAccount.
authentication.v1.TokenRequestSpec: Which token.
  audiences: Who may accept it.
  expirationSeconds: How long it shall be valid.
  boundObjectRef: The object with which it ends.
authentication.v1.TokenRequestStatus: The token.
  token: The token.
  expirationTimestamp: Until when it is valid.
authentication.v1.SelfSubjectReview: Asks the server for whom it takes the asker.
authentication.v1.SelfSubjectReviewStatus: The answer.
  userInfo: The asker.
authorization.v1.SubjectAccessReview: Asks whether somebody may do something.
authorization.v1.SubjectAccessReviewSpec: Who and what.
  resourceAttributes: What, with objects.
  nonResourceAttributes: What, with other paths.
  user: The name of the user.
  groups: The groups of the user.
  extra: What else is known of the user.
  uid: The uid of the user.
authorization.v1.SelfSubjectAccessReview: Asks whether the asker may do something.
authorization.v1.SelfSubjectAccessReviewSpec: What.
  resourceAttributes: What, with objects.
  nonResourceAttributes: What, with other paths.
authorization.v1.LocalSubjectAccessReview: Asks whether somebody may do something in a namespace.
authorization.v1.ResourceAttributes: Something to do with objects.
  namespace: In which namespace; empty for all, or for what has none.
  verb: What to do, such as get.
  group: The group of the resource.
  version: The version of the resource.
  resource: The resource.
  subresource: The part of it.
  name: The name of the object; empty for all.
  fieldSelector: Only objects with these fields.
  labelSelector: Only objects with these labels.
authorization.v1.NonResourceAttributes: Something to do with a path.
  path: The path.
  verb: What to do, such as get.
authorization.v1.SubjectAccessReviewStatus: The answer.
  allowed: It is allowed.
  denied: It is forbidden, whatever else might allow it.
  evaluationError: What went wrong on the way.
authorization.v1.SelfSubjectRulesReview: Asks for all that the asker may do in a namespace.
authorization.v1.SelfSubjectRulesReviewSpec: Where.
  namespace: The namespace.
certificates.v1beta1.ClusterTrustBundle: Certificates of authorities that workloads may trust.
certificates.v1beta1.ClusterTrustBundleSpec: Which certificates, and whose.
  signerName: The signer they belong to; the name of the object then begins with it. Cannot be changed.
  trustBundle: The certificates as PEM blocks, each once, in an order that says nothing.
certificates.v1.CertificateSigningRequest: Asks for a certificate.
certificates.v1.CertificateSigningRequestSpec: Which certificate.
  request: The request (PKCS #10, PEM), in base64.
  signerName: Who shall sign, such as kubernetes.io/kube-apiserver-client.
  usages: What the key is for, such as client auth.
  expirationSeconds: How long the certificate shall be valid.
  username: Who asked; filled in by the server.
  uid: The uid of who asked.
  groups: The groups of who asked.
  extra: What else is known of who asked.
certificates.v1.CertificateSigningRequestStatus: What has become of the request.
  conditions: Approved, Denied or Failed.
  certificate: The certificate, once it is signed.
certificates.v1.CertificateSigningRequestCondition: What was decided on a request.
  type: Approved, Denied or Failed.
  status: True.
"""
