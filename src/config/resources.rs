//! Control group limits of a container, as the OCI runtime specification writes them ("Linux Container Configuration").

use serde::Serialize;

use crate::yaml::{Fields, Item, YamlError};

/// Limits; an absent one does not limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Resources {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<DeviceRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<Pids>,
    #[serde(rename = "blockIO", skip_serializing_if = "Option::is_none")]
    pub block_io: Option<BlockIo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hugepage_limits: Vec<HugepageLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,
}

/// A rule of the device control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct DeviceRule {
    pub allow: bool,
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minor: Option<i64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub access: String,
}

/// Memory limits, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Memory {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reservation: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<i64>,
    #[serde(rename = "kernelTCP", skip_serializing_if = "Option::is_none")]
    pub kernel_tcp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    #[serde(rename = "disableOOMKiller", skip_serializing_if = "Option::is_none")]
    pub disable_oom_killer: Option<bool>,
}

/// Processor limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shares: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_runtime: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime_period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mems: Option<String>,
}

/// A limit of the number of processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Pids {
    pub limit: i64,
}

/// Block device limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct BlockIo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weight_device: Vec<WeightDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_bps_device: Vec<ThrottleDevice>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_bps_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleReadIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_read_iops_device: Vec<ThrottleDevice>,
    #[serde(rename = "throttleWriteIOPSDevice", skip_serializing_if = "Vec::is_empty")]
    pub throttle_write_iops_device: Vec<ThrottleDevice>,
}

/// A block device's share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct WeightDevice {
    pub major: i64,
    pub minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaf_weight: Option<u16>,
}

/// A block device's rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct ThrottleDevice {
    pub major: i64,
    pub minor: i64,
    pub rate: u64,
}

/// A limit of huge pages of one size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct HugepageLimit {
    pub page_size: String,
    pub limit: u64,
}

/// Network class and priorities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Network {
    #[serde(rename = "classID", skip_serializing_if = "Option::is_none")]
    pub class_id: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub priorities: Vec<Priority>,
}

/// A network interface's priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "fields are the specification's own, under its names")]
pub struct Priority {
    pub name: String,
    pub priority: u32,
}

impl Resources {
    pub(super) fn decode(item: Item<'_>) -> Result<Self, YamlError> {
        item.fields("`resources`", |fields| {
            Ok(Self {
                devices: list(fields, "devices", device_rule)?,
                memory: fields.maybe("memory", memory)?,
                cpu: fields.maybe("cpu", cpu)?,
                pids: fields.maybe("pids", pids)?,
                block_io: fields.maybe("blockio", block_io)?,
                hugepage_limits: list(fields, "hugepageLimits", hugepage_limit)?,
                network: fields.maybe("network", network)?,
            })
        })
    }
}

fn list<T>(
    fields: &mut Fields<'_>,
    key: &'static str,
    decode: fn(Item<'_>) -> Result<T, YamlError>,
) -> Result<Vec<T>, YamlError> {
    let items = fields.maybe(key, |item| item.list_of(decode))?;
    Ok(items.unwrap_or_default())
}

fn number<T: TryFrom<i128>>(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<T>, YamlError> {
    fields.maybe(key, |item| item.integer())
}

fn text(fields: &mut Fields<'_>, key: &'static str) -> Result<Option<String>, YamlError> {
    fields.maybe(key, |item| item.text().map(str::to_owned))
}

fn device_rule(item: Item<'_>) -> Result<DeviceRule, YamlError> {
    item.fields("a device rule", |fields| {
        Ok(DeviceRule {
            allow: fields.maybe("allow", |item| item.boolean())?.unwrap_or_default(),
            kind: text(fields, "type")?.unwrap_or_default(),
            major: number(fields, "major")?,
            minor: number(fields, "minor")?,
            access: text(fields, "access")?.unwrap_or_default(),
        })
    })
}

fn memory(item: Item<'_>) -> Result<Memory, YamlError> {
    item.fields("`memory`", |fields| {
        Ok(Memory {
            limit: number(fields, "limit")?,
            reservation: number(fields, "reservation")?,
            swap: number(fields, "swap")?,
            kernel: number(fields, "kernel")?,
            kernel_tcp: number(fields, "kernelTCP")?,
            swappiness: number(fields, "swappiness")?,
            disable_oom_killer: fields.maybe("disableOOMKiller", |item| item.boolean())?,
        })
    })
}

fn cpu(item: Item<'_>) -> Result<Cpu, YamlError> {
    item.fields("`cpu`", |fields| {
        Ok(Cpu {
            shares: number(fields, "shares")?,
            quota: number(fields, "quota")?,
            period: number(fields, "period")?,
            realtime_runtime: number(fields, "realtimeRuntime")?,
            realtime_period: number(fields, "realtimePeriod")?,
            cpus: text(fields, "cpus")?,
            mems: text(fields, "mems")?,
        })
    })
}

fn pids(item: Item<'_>) -> Result<Pids, YamlError> {
    item.fields("`pids`", |fields| {
        let limit = fields.required("limit")?.integer()?;
        Ok(Pids { limit })
    })
}

fn block_io(item: Item<'_>) -> Result<BlockIo, YamlError> {
    item.fields("`blockio`", |fields| {
        Ok(BlockIo {
            weight: number(fields, "weight")?,
            leaf_weight: number(fields, "leafWeight")?,
            weight_device: list(fields, "weightDevice", weight_device)?,
            throttle_read_bps_device: list(fields, "throttleReadBpsDevice", throttle_device)?,
            throttle_write_bps_device: list(fields, "throttleWriteBpsDevice", throttle_device)?,
            throttle_read_iops_device: list(fields, "throttleReadIOPSDevice", throttle_device)?,
            throttle_write_iops_device: list(fields, "throttleWriteIOPSDevice", throttle_device)?,
        })
    })
}

fn weight_device(item: Item<'_>) -> Result<WeightDevice, YamlError> {
    item.fields("a weight device", |fields| {
        Ok(WeightDevice {
            major: fields.required("major")?.integer()?,
            minor: fields.required("minor")?.integer()?,
            weight: number(fields, "weight")?,
            leaf_weight: number(fields, "leafWeight")?,
        })
    })
}

fn throttle_device(item: Item<'_>) -> Result<ThrottleDevice, YamlError> {
    item.fields("a throttle device", |fields| {
        Ok(ThrottleDevice {
            major: fields.required("major")?.integer()?,
            minor: fields.required("minor")?.integer()?,
            rate: fields.required("rate")?.integer()?,
        })
    })
}

/// LinuxKit's schema wants a page size as a number, the OCI specification as text (`2MB`): both are read.
fn hugepage_limit(item: Item<'_>) -> Result<HugepageLimit, YamlError> {
    item.fields("a huge page limit", |fields| {
        let page_size = fields.required("pageSize")?;
        let page_size = match page_size.is_integer() {
            true => page_size.integer::<u64>()?.to_string(),
            false => page_size.word()?.to_owned(),
        };
        let limit = fields.required("limit")?.integer()?;
        Ok(HugepageLimit { page_size, limit })
    })
}

fn network(item: Item<'_>) -> Result<Network, YamlError> {
    item.fields("`network`", |fields| {
        Ok(Network {
            class_id: number(fields, "classID")?,
            priorities: list(fields, "priorities", |item| {
                item.fields("a priority", |fields| {
                    Ok(Priority {
                        name: fields.required("name")?.word()?.to_owned(),
                        priority: fields.required("priority")?.integer()?,
                    })
                })
            })?,
        })
    })
}
