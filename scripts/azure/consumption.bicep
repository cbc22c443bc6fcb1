// Role: CodeRunner as a function app on the Consumption plan, for regions and subscriptions without Flex Consumption:
// one core and 1.5 GB an instance, no live output above 230 s of silence, a reduced sandbox.
// Callers: scripts/azure/deploy --plan consumption.
// Law: the app's managed identity has the rights that it needs and no other.

@description('Name of the function app, unique in Azure; also the first part of its address.')
param name string

@description('Where everything is made.')
param location string = resourceGroup().location

@description('How many instances there may be at most.')
@minValue(1)
@maxValue(200)
param maximumInstanceCount int = 20

@description('Days that logs are kept.')
param retentionInDays int = 30

var suffix = uniqueString(resourceGroup().id, name)
var package = 'package/coderunner.zip'
// Built-in roles, the same in every subscription.
var storageBlobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var monitoringMetricsPublisher = '3913510d-42f4-4e42-8a64-420c390055eb'

// The host keeps its leases and keys here, and the deployed package. No key gives access, only the identity below.
resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: 'st${suffix}'
  location: location
  kind: 'StorageV2'
  sku: {
    name: 'Standard_LRS'
  }
  properties: {
    allowBlobPublicAccess: false
    allowSharedKeyAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2023-05-01' = {
  parent: storage
  name: 'default'
}

// Where `deploy` puts dist.zip; the host mounts it, read-only, from there.
resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: 'package'
}

// Keeps what Application Insights shows.
resource workspace 'Microsoft.OperationalInsights/workspaces@2023-09-01' = {
  name: 'log-${name}'
  location: location
  properties: {
    retentionInDays: retentionInDays
    sku: {
      name: 'PerGB2018'
    }
  }
}

// The audit log (Information) and the service's own troubles (Error), searchable by request id.
resource insights 'Microsoft.Insights/components@2020-02-02' = {
  name: 'appi-${name}'
  location: location
  kind: 'web'
  properties: {
    Application_Type: 'web'
    DisableLocalAuth: true
    WorkspaceResourceId: workspace.id
  }
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: 'plan-${name}'
  location: location
  kind: 'functionapp'
  sku: {
    name: 'Y1'
    tier: 'Dynamic'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  kind: 'functionapp,linux'
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    siteConfig: {
      ftpsState: 'Disabled'
      functionAppScaleLimit: maximumInstanceCount
      minTlsVersion: '1.2'
      appSettings: [
        {
          name: 'AzureWebJobsStorage__accountName'
          value: storage.name
        }
        {
          name: 'APPLICATIONINSIGHTS_CONNECTION_STRING'
          value: insights.properties.ConnectionString
        }
        {
          name: 'APPLICATIONINSIGHTS_AUTHENTICATION_STRING'
          value: 'Authorization=AAD'
        }
        {
          name: 'FUNCTIONS_EXTENSION_VERSION'
          value: '~4'
        }
        {
          name: 'FUNCTIONS_WORKER_RUNTIME'
          value: 'custom'
        }
        {
          name: 'WEBSITE_RUN_FROM_PACKAGE'
          value: '${storage.properties.primaryEndpoints.blob}${package}'
        }
        {
          name: 'WEBSITE_RUN_FROM_PACKAGE_BLOB_MI_RESOURCE_ID'
          value: 'SystemAssigned'
        }
        {
          // An instance has 1.5 GB for the host and one job; the default of 1.5 GiB a job would take the host along.
          name: 'CODERUNNER_MEMORY'
          value: '768M'
        }
        {
          name: 'CODERUNNER_WORKERS'
          value: '1'
        }
      ]
    }
  }
  dependsOn: [
    container
  ]
}

// Leases, keys and the package: read and written by the host.
resource storageRight 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(storage.id, app.id, storageBlobDataOwner)
  scope: storage
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataOwner)
  }
}

// Logs and metrics: written only.
resource insightsRight 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, app.id, monitoringMetricsPublisher)
  scope: insights
  properties: {
    principalId: app.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', monitoringMetricsPublisher)
  }
}

// Where `deploy` uploads to.
output storageName string = storage.name
output packageBlob string = package
output address string = 'https://${app.properties.defaultHostName}/api/run'
