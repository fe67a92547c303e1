"""Texts on custom resources."""

TEXT = """
apiextensions.v1.CustomResourceDefinition: Makes a new kind of object; its name is plural.group.
apiextensions.v1.CustomResourceDefinitionSpec: The new kind.
  group: Its group, such as example.com.
  names: Its names.
  scope: Namespaced or Cluster.
  versions: Its versions.
  conversion: How objects get from one version to another.
  preserveUnknownFields: Has to be false.
apiextensions.v1.CustomResourceDefinitionNames: The names of a kind.
  plural: In paths, such as crontabs.
  singular: For one object, such as crontab.
  shortNames: For the command line, such as ct.
  kind: In objects, such as CronTab.
  listKind: Of lists; the kind with List behind it by default.
  categories: Groups of kinds it belongs to, such as all.
apiextensions.v1.CustomResourceDefinitionVersion: A version of a kind.
  name: Its name, such as v1 or v1beta1.
  served: Whether it can be used.
  storage: Whether objects are stored in it; exactly one version is.
  schema: What its objects look like.
  subresources: Parts that its objects have.
  additionalPrinterColumns: Columns that kubectl get shows.
  selectableFields: Fields that objects can be selected by.
  deprecated: Whether clients are warned.
  deprecationWarning: What they are told.
apiextensions.v1.CustomResourceValidation: What objects look like.
  openAPIV3Schema: The schema.
apiextensions.v1.JSONSchemaProps: A schema, as JSON Schema and OpenAPI write it.
  id: The name of the schema.
  $schema: The version of JSON Schema.
  $ref: Not allowed: a reference to another schema.
  description: What it is, for kubectl explain.
  title: A heading.
  type: object, array, string, integer, number or boolean.
  format: What a text or number means, such as date-time or int32.
  default: What is filled in where it is missing.
  nullable: Whether null is allowed.
  enum: The values that are allowed.
  maximum: The largest number.
  exclusiveMaximum: The largest number itself is not allowed.
  minimum: The smallest number.
  exclusiveMinimum: The smallest number itself is not allowed.
  multipleOf: Only multiples of this number.
  maxLength: How long a text may be.
  minLength: How long a text has to be.
  pattern: What a text has to look like, as a regular expression.
  maxItems: How many items a list may have.
  minItems: How many items a list has to have.
  uniqueItems: Not allowed: items that differ; see x-kubernetes-list-type.
  maxProperties: How many members an object may have.
  minProperties: How many members an object has to have.
  required: Members that have to be there.
  properties: The members of an object.
  additionalProperties: What the values of all other members look like.
  items: What items of a list look like.
  allOf: All of these have to hold.
  anyOf: One of these has to hold.
  oneOf: Exactly one of these has to hold.
  not: This must not hold.
  patternProperties: Not allowed: members by pattern.
  dependencies: Not allowed: members that need others.
  additionalItems: Not allowed: items beyond those that are listed.
  definitions: Not allowed: schemas to refer to.
  externalDocs: Where more is written.
  example: An example.
  x-kubernetes-preserve-unknown-fields: Keep members that the schema does not know.
  x-kubernetes-embedded-resource: The object is one of its own, with apiVersion, kind and metadata.
  x-kubernetes-int-or-string: A number or a text.
  x-kubernetes-list-type: How server-side apply merges a list: atomic (the default), set or map.
  x-kubernetes-list-map-keys: The members that tell items of a map list apart.
  x-kubernetes-map-type: How server-side apply merges an object: granular (the default) or atomic.
  x-kubernetes-validations: Rules in CEL.
apiextensions.v1.ExternalDocumentation: Where more is written.
  description: What is there.
  url: Where.
apiextensions.v1.ValidationRule: A rule in CEL.
  rule: The expression; self is the value, oldSelf what it was.
  message: What to say when it does not hold.
  messageExpression: The same, as an expression.
  reason: The kind of error: FieldValueInvalid (the default), -Forbidden, -Required or -Duplicate.
  fieldPath: The field that the error is about, such as .spec.size.
  optionalOldSelf: Check it, too, when there is no old value.
apiextensions.v1.CustomResourceSubresources: Parts that objects have.
  status: A status that is written apart from the spec.
  scale: A number of replicas.
apiextensions.v1.CustomResourceSubresourceStatus: A status that is written apart from the spec.
apiextensions.v1.CustomResourceSubresourceScale: Where the number of replicas stands.
  specReplicasPath: The number wanted, such as .spec.replicas.
  statusReplicasPath: The number there is, such as .status.replicas.
  labelSelectorPath: The selector of the Pods as text, such as .status.selector.
apiextensions.v1.CustomResourceColumnDefinition: A column that kubectl get shows.
  name: Its heading.
  type: integer, number, string, boolean or date.
  format: More on the type, such as name.
  description: What it shows.
  priority: 0, or more for columns that only -o wide shows.
  jsonPath: Where its value stands, such as .spec.size.
apiextensions.v1.SelectableField: A field that objects can be selected by.
  jsonPath: Where it stands, such as .spec.color.
apiextensions.v1.CustomResourceConversion: How objects get from one version to another.
  strategy: None (only apiVersion changes) or Webhook.
  webhook: Who converts them.
apiextensions.v1.WebhookConversion: Who converts objects.
  clientConfig: Where to ask.
  conversionReviewVersions: Versions of ConversionReview that are understood.
apiextensions.v1.WebhookClientConfig: Where to ask; url or service.
  service: A Service of the cluster.
  url: A URL that begins with https://.
  caBundle: Certificates that are trusted, PEM, in base64.
apiextensions.v1.ServiceReference: A Service.
  namespace: Its namespace.
  name: Its name.
  path: The path to ask for.
  port: Its port; 443 by default.
apiextensions.v1.CustomResourceDefinitionStatus: What has become of the definition.
  acceptedNames: The names that are in use.
  storedVersions: Versions in which objects have been stored.
apiextensions.v1.CustomResourceDefinitionCondition: A statement on the state of a definition.
  type: NamesAccepted, Established, NonStructuralSchema or Terminating.
  status: Whether it holds: True, False or Unknown.
apiextensions.v1.JSON: Any value.
apiextensions.v1.JSONSchemaPropsOrArray: A schema, or several.
apiextensions.v1.JSONSchemaPropsOrBool: A schema; or true for everything, false for nothing.
apiextensions.v1.JSONSchemaPropsOrStringArray: A schema, or names of members.
"""
