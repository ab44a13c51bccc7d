package deploy

import "github.com/hastack/hastack/internal/topology"

// The server's certificate for Hastack's own processes; engines have copies in
// their own parts, with their own owners.
const (
	caFile   = tlsDir + "/ca.pem"
	certFile = tlsDir + "/server.pem"
	keyFile  = tlsDir + "/server-key.pem"
)

// certificatesPart puts every server's certificate and key in place. Units
// that do not run yet read them when they start.
func certificatesPart() *Part {
	return &Part{Name: "certificates", Servers: everyServer, Want: wantCertificates}
}

func wantCertificates(c *Context, s *topology.Server) (*Want, error) {
	certPEM, keyPEM, err := c.Cluster.Certificate(s)
	if err != nil {
		return nil, err
	}
	return &Want{
		Dirs: []Directory{{Path: tlsDir, Group: serviceUser, Mode: 0o750}},
		Files: []File{
			{Path: caFile, Mode: 0o644, Content: c.Cluster.CAPEM()},
			{Path: keyFile, Group: serviceUser, Mode: 0o640, Content: keyPEM, Secret: true},
			{Path: certFile, Mode: 0o644, Content: certPEM},
		},
	}, nil
}
