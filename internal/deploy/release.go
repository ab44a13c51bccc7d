package deploy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"

	"github.com/hastack/hastack/internal/topology"
)

// keptReleases is how many releases stay on a server, to go back to.
const keptReleases = 3

// A binary is the file of hastack that is deployed, read once.
type binary struct {
	content []byte
	sum     string
}

// LoadBinary reads the binary that the deploy brings to the servers and names
// its release after the version and the content.
func (c *Context) LoadBinary(path, version string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the binary to deploy: %w", err)
	}
	h := sha256.Sum256(b)
	c.binary = &binary{content: b, sum: hex.EncodeToString(h[:])}
	c.Binary, c.Version, c.Release = path, version, version+"-"+c.binary.sum[:12]
	return nil
}

// releasePart puts the binary beside the ones before it and points current to
// it. The parts that run it restart their units, because the name of the
// release is in them.
func releasePart() *Part {
	return &Part{Name: "release", Servers: everyServer, Want: wantRelease}
}

func wantRelease(c *Context, _ *topology.Server) (*Want, error) {
	if c.binary == nil {
		return nil, fmt.Errorf("no binary to deploy was named")
	}
	dir := releases + c.Release
	prune := fmt.Sprintf("cd %s && ls -1t | grep -vxF \"$(basename \"$(readlink %s)\")\" | tail -n +%d | xargs -r rm -rf", releases, current, keptReleases)
	return &Want{
		Dirs: []Directory{{Path: dir, Mode: 0o755}},
		Files: []File{
			{Path: dir + "/hastack", Mode: 0o755, Content: c.binary.content, Sum: c.binary.sum},
			{Path: current, Link: "releases/" + c.Release, Then: []string{prune}},
			{Path: command, Link: current + "/hastack"},
		},
	}, nil
}
