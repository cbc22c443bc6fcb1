// Role: CodeRunner as a function app on the Flex Consumption plan: scales to zero, a virtual machine's isolation around
// each instance, no key of the storage account anywhere.
// Callers: scripts/azure/deploy --plan flex.
// Law: the app's managed identity has the two rights that it needs and no other.

@description('Name of the function app, unique in Azure; also the first part of its address.')
param name string

@description('Where everything is made; the plan must be offered there (az functionapp list-flexconsumption-locations).')
param location string = resourceGroup().location

@description('Memory of an instance in MB. A job may take 1.5 GiB, so 4096 holds two at once, 2048 one.')
@allowed([
  2048
  4096
])
param instanceMemoryMB int = 4096

@description('How many instances there may be at most.')
@minValue(1)
@maxValue(1000)
param maximumInstanceCount int = 40

@description('Jobs that run at once on one instance; as many requests are sent to it before another one is added.')
@minValue(1)
param workers int = 2

@description('Days that logs are kept.')
param retentionInDays int = 30

var suffix = uniqueString(resourceGroup().id, name)
var packages = 'packages'
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

// Where `deploy` puts dist.zip, and each new instance takes it from.
resource container 'Microsoft.Storage/storageAccounts/blobServices/containers@2023-05-01' = {
  parent: blobs
  name: packages
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
    name: 'FC1'
    tier: 'FlexConsumption'
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
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storage.properties.primaryEndpoints.blob}${packages}'
          authentication: {
            type: 'SystemAssignedIdentity'
          }
        }
      }
      runtime: {
        name: 'custom'
        version: '1.0'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemoryMB
        maximumInstanceCount: maximumInstanceCount
        triggers: {
          http: {
            perInstanceConcurrency: workers
          }
        }
      }
    }
    siteConfig: {
      ftpsState: 'Disabled'
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
          name: 'CODERUNNER_WORKERS'
          value: string(workers)
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

output address string = 'https://${app.properties.defaultHostName}/api/run'
