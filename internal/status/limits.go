package status

import "time"

// From when on something is a problem; the alarms have the same limits.
const (
	diskFreePercent   = 10
	inodesFreePercent = 3
	memoryFreePercent = 5
	maxClockOffset    = 200 * time.Millisecond
	maxQueueDepth     = 1000
	maxLag            = 100
	certificateLeft   = 14 * 24 * time.Hour
	maxKeyAge         = 35 * 24 * time.Hour
	maxAuditAge       = time.Hour
)

// Alarms whose paragraph in the handbook tells what to do about a problem.
const (
	anchorServer        = "ServerDown"
	anchorNodeAgent     = "NodeAgentDown"
	anchorCollector     = "CollectorFails"
	anchorPeer          = "PeerUnreachable"
	anchorOneWay        = "PeerOneWay"
	anchorVersion       = "VersionsDiffer"
	anchorVIP           = "VipMissing"
	anchorVIPTwice      = "VipHeldTwice"
	anchorLeg           = "BondLegDown"
	anchorLink          = "LinkDown"
	anchorSwitch        = "SwitchDown"
	anchorUnit          = "UnitDown"
	anchorService       = "ServiceNotReady"
	anchorBackend       = "BackendDown"
	anchorPacemaker     = "PacemakerNoQuorum"
	anchorPacemakerFail = "PacemakerFailed"
	anchorQuorum        = "DatabaseNoQuorum"
	anchorDatabase      = "DatabaseNotReady"
	anchorNotSynced     = "DatabaseNotSynced"
	anchorWriter        = "DatabaseWriterMissing"
	anchorWriters       = "DatabaseWritersDiffer"
	anchorReplication   = "ReplicationBehind"
	anchorFlush         = "DatabaseNotDurable"
	anchorBus           = "BrokerDown"
	anchorPartition     = "BrokerPartitioned"
	anchorBlocked       = "BrokerBlocked"
	anchorQueueMember   = "QueueMemberMissing"
	anchorQueue         = "QueueDepth"
	anchorCache         = "MemcachedDown"
	anchorKeys          = "TokenKeysDiffer"
	anchorKeyAge        = "TokenKeyOld"
	anchorCertificate   = "CertificateExpires"
	anchorExpired       = "CertificateExpired"
	anchorDisk          = "DiskFilling"
	anchorInodes        = "InodesLow"
	anchorReadOnly      = "DiskReadOnly"
	anchorMemory        = "MemoryLow"
	anchorClock         = "ClockOffset"
	anchorNoClock       = "ClockUnsynchronised"
	anchorAudit         = "AuditFindings"
	anchorUnseen        = "AuditUnseen"
	anchorOverdue       = "AuditOverdue"
	anchorMonitor       = "MonitorDown"
)

// follows names, for an alarm that is only the consequence of something else,
// what that is: where that is told, the alarm need not be.
func follows(alarm string) (of []string, anywhere bool) {
	switch alarm {
	case "CollectorFails":
		return []string{anchorDatabase, anchorBus, anchorCache, anchorUnit, anchorService}, false
	case "BackendServerDown":
		return []string{anchorUnit, anchorService, anchorServer, anchorNodeAgent}, false
	case "UnitDown":
		return []string{anchorServer}, false
	case "DatabaseMemberMissing":
		return []string{anchorDatabase, anchorQuorum, anchorServer}, true
	case "BrokerMemberMissing":
		return []string{anchorBus, anchorPartition, anchorServer}, true
	case anchorPeer:
		return []string{anchorServer, anchorNodeAgent}, true
	case anchorLeg, anchorLink:
		return []string{anchorSwitch}, true
	}
	return nil, false
}
