package keystone

import "testing"

// The vectors are AWS's published examples.
func TestEC2SignatureVersion4(t *testing.T) {
	r := EC2Request{
		Host: "example.amazonaws.com", Verb: "GET", Path: "/",
		Headers: map[string]string{
			"X-Amz-Date": "20150830T123600Z",
			"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, " +
				"SignedHeaders=host;x-amz-date, Signature=x",
		},
		BodyHash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
	got, at, ok := r.sign("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
	if want := "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"; !ok || got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
	if at.Format("20060102T150405Z") != "20150830T123600Z" {
		t.Errorf("signed at %v", at)
	}
}

func TestEC2SignatureVersion4InTheQuery(t *testing.T) {
	r := EC2Request{
		Host: "examplebucket.s3.amazonaws.com", Verb: "GET", Path: "/test.txt",
		Params: map[string]string{
			"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request",
			"X-Amz-Date": "20130524T000000Z", "X-Amz-Expires": "86400", "X-Amz-SignedHeaders": "host", "X-Amz-Signature": "x",
		},
		BodyHash: "UNSIGNED-PAYLOAD",
	}
	got, _, ok := r.sign("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
	if want := "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"; !ok || got != want {
		t.Errorf("signature is %s, want %s", got, want)
	}
}

func TestEC2SignatureThatIsNotUnderstoodIsRefused(t *testing.T) {
	for _, r := range []EC2Request{
		{}, {Params: map[string]string{"SignatureVersion": "1"}},
		{Params: map[string]string{"SignatureVersion": "2", "SignatureMethod": "HmacSHA1", "Timestamp": "2026-01-01T00:00:00Z"}},
		{Params: map[string]string{"SignatureVersion": "2", "SignatureMethod": "HmacSHA256"}},
		{Headers: map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=x"}},
		{Headers: map[string]string{"Authorization": "AWS4-HMAC-SHA256 Credential=a/20150829/r/s/aws4_request", "X-Amz-Date": "20150830T123600Z"}},
	} {
		if _, _, ok := r.sign("secret"); ok {
			t.Errorf("%+v was signed", r)
		}
	}
}
