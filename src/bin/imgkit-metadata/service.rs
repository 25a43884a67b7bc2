//! OpenStack's metadata service at the link-local address: plain HTTP, no redirects, no proxy, every answer bounded.

use std::thread;

use ureq::{Agent, Error as Fault};

use crate::error::Error;
use crate::limit;

/// Where the service is (OpenStack Compute API, metadata service).
const ADDRESS: &str = "http://169.254.169.254";

/// A metadata service.
pub(crate) struct Service {
    agent: Agent,
    address: String,
}

impl Service {
    /// Sets the client up; nothing is asked yet.
    pub(crate) fn link_local() -> Service {
        Service::at(ADDRESS.to_owned())
    }

    fn at(address: String) -> Service {
        let config = Agent::config_builder()
            .timeout_global(Some(limit::REQUEST))
            .max_redirects(0)
            .proxy(None)
            .build();
        Service {
            agent: config.into(),
            address,
        }
    }

    /// Reads a document, such as `openstack/latest/user_data`; `None` when the service has none.
    ///
    /// `patient` tries again while there is no answer at all: the network of the machine may be on its way.
    pub(crate) fn read(&self, path: &str, limit: u64, patient: bool) -> Result<Option<Vec<u8>>, Error> {
        let tries = if patient { limit::TRIES } else { 1 };
        let mut tried = 0;
        loop {
            tried += 1;
            match self.try_read(path, limit) {
                Err(Error::Service { .. }) if tried < tries => thread::sleep(limit::REQUEST),
                result => return result,
            }
        }
    }

    fn try_read(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let url = format!("{}/{path}", self.address);
        let failure = |reason: String| Error::Service {
            url: url.clone(),
            reason,
        };
        let mut response = match self.agent.get(&url).call() {
            Ok(response) if response.status() == 200 => response,
            Ok(response) => return Err(failure(format!("status {}", response.status()))),
            Err(Fault::StatusCode(404)) => return Ok(None),
            Err(fault) => return Err(failure(fault.to_string())),
        };
        match response.body_mut().with_config().limit(limit).read_to_vec() {
            Ok(body) => Ok(Some(body)),
            Err(Fault::BodyExceedsLimit(_)) => Err(Error::TooLarge { what: url, limit }),
            Err(fault) => Err(failure(fault.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers as many requests as there are responses, on a port of its own.
    fn serve(responses: Vec<String>) -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for response in responses {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(response.as_bytes());
            }
        });
        Service::at(address)
    }

    fn response(status: &str, body: &str) -> String {
        format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    }

    #[test]
    fn reads_a_document_and_its_absence() {
        let service = serve(vec![response("200 OK", "{}"), response("404 Not Found", "")]);
        assert_eq!(
            service
                .read("openstack/latest/meta_data.json", 2, false)
                .unwrap()
                .as_deref(),
            Some(b"{}".as_slice())
        );
        assert_eq!(service.read("openstack/latest/user_data", 2, false).unwrap(), None);
    }

    #[test]
    fn refuses_a_document_beyond_its_bound() {
        let service = serve(vec![response("200 OK", "0123456789")]);
        assert!(matches!(
            service.read("user_data", 9, false),
            Err(Error::TooLarge { limit: 9, .. })
        ));
    }

    #[test]
    fn does_not_follow_the_service_elsewhere() {
        let elsewhere =
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        let service = serve(vec![elsewhere.to_owned()]);
        let error = service.read("user_data", 9, false).unwrap_err().to_string();
        assert!(error.contains("/user_data: "), "{error}");
    }

    #[test]
    fn gives_up_on_a_service_that_says_nothing() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let service = Service::at(format!("http://{}", silent.local_addr().unwrap()));
        assert!(matches!(
            service.read("user_data", 9, false),
            Err(Error::Service { .. })
        ));
    }
}
