package deploy

// Parts are all parts of a cluster in the order in which they are deployed.
// Who owns a part adds its line here.
func Parts() []*Part {
	return []*Part{
		basePart(), releasePart(), certificatesPart(),
		galeraPart(), rabbitPart(), memcachedPart(),
		nodePart(),
		haproxyPart(), vipPart(),
		keysPart(), controlPart(), agentsPart(),
		monitoringPart(), logsPart(),
	}
}
